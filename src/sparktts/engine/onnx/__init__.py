"""The ONNX Runtime engine: exported models, on the processor and without PyTorch; other providers if installed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from ...errors import OptionError
from ..base import ClipAligner, Engine
from ..threads import thread_count

if TYPE_CHECKING:
    from ...checkpoint.layout import Checkpoint

SMALL = 16_000_000  # values in the layers of a language model that stays in a processor's caches; Ember has 6 million
LANE = 4  # calls for each of several language models: a batch of four is as fast for a token as one of eight


def load(checkpoint: Checkpoint, device: str = "auto", dtype: str = "auto", concurrency: int = 1) -> Engine:
    """The engine on an exported model. device: cpu, cuda, cuda:N, coreml, dml, cann; auto is cpu.

    Where several calls run at once on a processor, each decode has one thread, and there are as many decodes as cores:
    that is more speech for the same work than all threads on one decode after the other. So has each step of a small
    language model, of which there are then several.
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
    cores = (thread_count() or 1) if provider == "cpu" else 1
    decoders = min(concurrency, cores)
    threads = 1 if decoders > 1 else None
    lanes = min(cores, concurrency // LANE) if checkpoint.lm.layer_values <= SMALL else 1
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
        language_model=lambda: OnnxLanguageModel.open(checkpoint.lm, exported, provider, 1 if lanes > 1 else None),
        aligner=aligner if checkpoint.options.aligner else None,
        decoders=decoders,
        lanes=max(1, lanes),
        beside=lambda model: cast(OnnxLanguageModel, model).beside(),
    )
