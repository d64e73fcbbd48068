"""The ONNX Runtime engine: exported models, on the processor and without PyTorch; other providers if installed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ...errors import OptionError
from ..base import ClipAligner, Engine
from ..threads import thread_count

if TYPE_CHECKING:
    from ...checkpoint.layout import Checkpoint


def load(checkpoint: Checkpoint, device: str = "auto", dtype: str = "auto", concurrency: int = 1) -> Engine:
    """The engine on an exported model. device: cpu, cuda, cuda:N, coreml, dml, cann; auto is cpu.

    Where several calls run at once on a processor, each decode has one thread, and there are as many decodes as cores:
    that is more speech for the same work than all threads on one decode after the other.
    Raises OptionError for a device that is unknown or absent, or any precision but `auto`: that of the export counts.
    """
    from .aligner import OnnxAligner
    from .codec import OnnxCodec
    from .language_model import OnnxLanguageModel
    from .sessions import check_provider

    exported = checkpoint.exported
    assert exported is not None
    if dtype != "auto":
        raise OptionError(
            f"The precision of an exported model is that of its export ({exported.weights}): leave out {dtype!r:.20}."
        )
    provider = check_provider(device)
    decoders = min(concurrency, thread_count()) if provider == "cpu" else 1
    threads = 1 if decoders > 1 else None
    codec = functools.cache(
        lambda: OnnxCodec(checkpoint.bicodec, exported, checkpoint.codec_fingerprint, provider, threads)
    )

    def aligner() -> ClipAligner:
        from ...checkpoint.aligner import AlignerConfig
        from ..aligner import ListeningAligner

        config = AlignerConfig.read(checkpoint.aligner_dir / "config.json")
        return ListeningAligner(codec(), OnnxAligner(config, codec().graphs))

    return Engine(
        "onnx",
        provider,
        exported.weights,
        codec=codec,
        language_model=lambda: OnnxLanguageModel(checkpoint.lm, exported, provider),
        aligner=aligner if checkpoint.options.aligner else None,
        decoders=max(1, decoders),
    )
