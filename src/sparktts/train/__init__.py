"""Training of the codec, the language model, the feature encoder and the aligner. Needs the extra `train`."""

from __future__ import annotations

from ..errors import OptionError


def require_extra() -> None:
    """Raises OptionError with the pip command unless the packages that training needs are installed."""
    from importlib.util import find_spec

    for name in ("torch", "lightning_fabric", "tensorboard"):
        if find_spec(name) is None:
            raise OptionError(f'Training needs the package `{name}`: pip install "sparktts[torch,train]".')
