"""The MindSpore engine: Ascend and CPU devices."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from ...errors import OptionError
from ..base import ClipAligner, Engine

if TYPE_CHECKING:
    from ...checkpoint.layout import Checkpoint


def load(checkpoint: Checkpoint, device: str = "auto", dtype: str = "auto", concurrency: int = 1) -> Engine:
    """The engine on a checkpoint; whatever the concurrency, it decodes one after the other.

    device: cpu, ascend, ascend:N; auto is ascend where there is one. dtype: of the language model's products, fp32 or
    bf16; auto is bf16 on Ascend. Raises OptionError for a bad device or precision, CheckpointError for bad weights.
    """
    os.environ.setdefault("GLOG_v", "3")  # errors only on the terminal
    try:
        import mindspore  # noqa: F401
    except ImportError:
        raise OptionError('The mindspore engine needs MindSpore: pip install "sparktts[mindspore]".') from None
    from .codec import MindSporeCodec
    from .language_model import MindSporeLanguageModel
    from .runtime import start

    place, precision = start(device, dtype)
    codec = cache(lambda: MindSporeCodec(checkpoint))

    def aligner() -> ClipAligner:
        from ..aligner import ListeningAligner
        from .aligner import MindSporeAligner

        return ListeningAligner(codec(), MindSporeAligner(checkpoint.aligner_dir))

    return Engine(
        "mindspore",
        place,
        precision,
        codec=codec,
        language_model=lambda: MindSporeLanguageModel(checkpoint, precision),
        aligner=aligner if checkpoint.options.aligner else None,
    )
