"""Comparing what was exported with the torch engine on the same input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.reference import reference_window
from ..checkpoint.aligner import AlignerConfig
from ..checkpoint.config import SourceFilterConfig
from ..checkpoint.fields import Section
from ..checkpoint.layout import Checkpoint
from ..engine.onnx.aligner import OnnxAligner
from ..engine.onnx.codec import OnnxCodec
from .report import PartReport, Progress
from .sample import sample_clip, sample_tokens

CLIP_SECONDS = 6.0
TOKENS = 100
Array = npt.NDArray[Any]


class Draft:
    """The files of an export that is being made; an engine.onnx.graphs.GraphFiles."""

    def __init__(self, folder: Path, parts: Sequence[PartReport]) -> None:
        self.folder, self._parts = folder, {part.name: part for part in parts}

    def file(self, name: str) -> Path:
        """The path of a file."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.file(name).is_file()

    def section(self, name: str) -> Section:
        """What is known of a part."""
        return Section(str(self.folder), self._parts[name].settings, f"{name}.")


def compared(
    checkpoint: Checkpoint, folder: Path, parts: Sequence[PartReport], progress: Progress
) -> Iterator[PartReport]:
    """The reports of the codec's parts and of the aligner with their differences. folder: the graphs'.

    Raises OptionError without PyTorch.
    """
    from ..engine.torch.codec import TorchCodec

    theirs = TorchCodec(checkpoint)
    ours = OnnxCodec(checkpoint.bicodec, Draft(folder, parts), checkpoint.codec_fingerprint)
    progress("comparing with the torch engine")
    clip = sample_clip(CLIP_SECONDS, ours.sample_rate)
    for part in parts:
        yield _compared(part, checkpoint, theirs, ours, clip)


def _compared(part: PartReport, checkpoint: Checkpoint, theirs: Any, ours: OnnxCodec, clip: Array) -> PartReport:
    if part.name == "speaker_encoder":
        window = reference_window(clip, "first-6s", checkpoint.options.ref_segment_duration)
        return replace(
            part,
            max_difference=_levels_difference(theirs, ours, window),
            agreement=_agreement(ours.speaker_tokens(window), theirs.speaker_tokens(window)),
        )
    if part.name == "semantic_encoder" and ours.graphs.has("features"):
        return replace(
            part,
            max_difference=_difference(ours.features(clip), theirs.features(clip)),
            agreement=_agreement(ours.semantic_tokens(clip), theirs.semantic_tokens(clip)),
        )
    if part.name == "decoder":
        return _decoder_compared(part, checkpoint, theirs, ours)
    if part.name == "aligner":
        return _aligner_compared(part, checkpoint, theirs, ours, clip)
    return part


def _decoder_compared(part: PartReport, checkpoint: Checkpoint, theirs: Any, ours: OnnxCodec) -> PartReport:
    """The samples; of a decoder with a source, what the network says of it."""
    voice = checkpoint.bicodec.speaker_encoder
    speaker = sample_tokens(voice.token_num, voice.codes)
    semantic = sample_tokens(TOKENS, checkpoint.bicodec.quantizer.codebook_size)
    if not isinstance(checkpoint.bicodec.decoder, SourceFilterConfig):
        found, expected = ours.decode(semantic, speaker)[0], theirs.decode(semantic, speaker)[0]
        return replace(part, max_difference=_difference(found, expected))
    expected = _heard(theirs.parts.decoder.head, lambda: theirs.decode(semantic, speaker))
    latents = ours.graphs.run("latents", semantic=semantic[None], speaker=speaker[None])
    note = "Compared before synthesis, as the phase of a source adds up the smallest differences of pitch."
    return replace(
        part, max_difference=_difference(ours.graphs.run("decoder", latents=latents), expected), notes=(note,)
    )


def _aligner_compared(
    part: PartReport, checkpoint: Checkpoint, theirs: Any, ours: OnnxCodec, clip: Array
) -> PartReport:
    """Both on the torch engine's features, so that the aligner alone is compared."""
    from ..engine.torch.aligner import CodecAligner

    listening = CodecAligner(checkpoint, theirs).aligner
    mine = OnnxAligner(AlignerConfig.read(checkpoint.aligner_dir / "config.json"), ours.graphs)
    features = [theirs.features(clip)]
    expected, found = listening.log_probs(features)[0], mine.log_probs(features)[0]
    same = _agreement(found.argmax(axis=-1), expected.argmax(axis=-1))
    return replace(part, max_difference=_difference(found, expected), agreement=same)


def _levels_difference(theirs: Any, ours: OnnxCodec, window: Array) -> float:
    """Between what both speaker encoders make tokens of."""
    layer = theirs.parts.speaker_encoder.quantizer.project_in
    expected = _heard(layer, lambda: theirs.speaker_tokens(window))
    _, levels = ours.graphs.open("speaker_encoder").run(None, {"mel": ours.mel(window)[None]})
    return _difference(levels, expected)


def _heard(layer: Any, call: Callable[[], object]) -> Array:
    """What a layer of the torch engine gives during a call."""
    outputs: list[Array] = []
    hook = layer.register_forward_hook(lambda _, __, output: outputs.append(output.numpy()))
    try:
        call()
    finally:
        hook.remove()
    return outputs[0]


def _difference(found: Array, expected: Array) -> float:
    """The largest one, as a share of the largest value."""
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-9))


def _agreement(found: Array, expected: Array) -> float:
    return float(np.mean(found == expected))
