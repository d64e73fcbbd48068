"""The PyTorch engine: CPU, CUDA, Apple and Ascend (through torch_npu) devices, fp32 and bf16."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ...errors import OptionError
from ..base import Engine
from ..threads import wanted_threads

if TYPE_CHECKING:
    from ...checkpoint.layout import Checkpoint


def load(checkpoint: Checkpoint, device: str = "auto", dtype: str = "auto", concurrency: int = 1) -> Engine:
    """The engine on a checkpoint; whatever the concurrency, it decodes one after the other.

    Raises OptionError for a bad device or precision, CheckpointError for bad weights.
    """
    try:
        import torch
    except ImportError:
        raise OptionError('The torch engine needs PyTorch: pip install "sparktts[torch]".') from None
    from .aligner import CodecAligner
    from .codec import TorchCodec
    from .devices import DTYPES, choose_device, choose_dtype
    from .language_model import TorchLanguageModel

    if (threads := wanted_threads()) is not None:
        torch.set_num_threads(threads)
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    name = next(key for key, value in DTYPES.items() if value == precision)
    codec = cache(lambda: TorchCodec(checkpoint, place, torch.float32))
    return Engine(
        "torch",
        str(place),
        name,
        codec=codec,
        language_model=lambda: TorchLanguageModel(checkpoint, place, precision),
        aligner=(lambda: CodecAligner(checkpoint, codec())) if checkpoint.options.aligner else None,
    )
