"""Decoding while tokens arrive: any windows give the samples of one decode, with exactly the context that it takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.base import Codec, Samples
from sparktts.engine.onnx.codec import OnnxCodec
from sparktts.engine.torch.codec import TorchCodec
from sparktts.export.codec import export_codec
from sparktts.export.compare import Draft
from sparktts.export.graph import Storage
from sparktts.windows import GrowingDecode

from .codecs import DECODERS as OTHERS
from .codecs import write_codec

DECODERS: dict[str, dict[str, Any] | None] = {"wave_generator": None, **OTHERS}  # None: that of the mini checkpoint
LONGEST = 80
SPEAKER = np.arange(32) * 100
Make = Callable[..., Codec]


@pytest.fixture(scope="module", params=["onnx", "torch"])
def codec(request: pytest.FixtureRequest, mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A small codec with each type of decoder, on each engine."""

    @cache
    def make(name: str, gain: float = 2) -> Codec:
        decoder, folder = DECODERS[name], tmp_path_factory.mktemp("codec")
        path = mini if decoder is None else write_codec(mini, folder / name, gain, **decoder)
        checkpoint = Checkpoint.open_codec(path)
        if request.param == "torch":
            return TorchCodec(checkpoint)
        parts = list(export_codec(checkpoint, folder, Storage(), lambda _: None))
        return OnnxCodec(checkpoint.bicodec, Draft(folder, parts), checkpoint.codec_fingerprint, threads=1)

    return make


def tokens(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 8192, count)


def grown(codec: Codec, semantic: np.ndarray, stops: list[int], look_ahead: int) -> Samples:
    """All samples, window by window, when at each time only `look_ahead` tokens after the window are known."""
    decode, pieces = GrowingDecode(codec, SPEAKER), []
    for stop in stops:
        known = min(len(semantic), stop + look_ahead)
        piece = decode.window(semantic[:known], stop, finished=known == len(semantic))
        assert len(piece.samples) == (stop - decode.start) * codec.hop
        decode.accept(piece)
        pieces.append(piece.samples)
    return np.concatenate(pieces)


@st.composite
def cuttings(draw: st.DrawFn) -> list[int]:
    """Ends of windows, rising to the length of an utterance of 1 to LONGEST tokens."""
    length = draw(st.integers(1, LONGEST))
    inner = draw(st.lists(st.integers(1, length), max_size=5))
    return sorted({*inner, length})


@pytest.mark.parametrize("name", DECODERS)
def test_any_windows_give_the_samples_of_one_decode(codec: Make, name: str) -> None:
    made = codec(name)

    @settings(max_examples=10, deadline=None)
    @given(cuttings())
    def check(stops: list[int]) -> None:
        semantic = tokens(stops[-1])
        whole, _ = made.decode(semantic, SPEAKER)
        pieces = grown(made, semantic, stops, made.context)
        assert pieces.shape == whole.shape
        assert np.abs(pieces - whole).max() <= 1e-4 * np.abs(whole).max()

    check()


@pytest.mark.parametrize("name", DECODERS)
def test_every_length_from_one_token_on(codec: Make, name: str) -> None:
    made = codec(name)
    for length, step in ((1, 1), (2, 1), (3, 1), (made.context, 5), (made.context + 1, 7)):
        semantic = tokens(length)
        whole, _ = made.decode(semantic, SPEAKER)
        pieces = grown(made, semantic, [*range(1, length, step), length], made.context)
        assert np.abs(pieces - whole).max() <= 1e-4 * np.abs(whole).max()


@pytest.mark.parametrize("name", DECODERS)
def test_the_context_is_tight(codec: Make, name: str) -> None:
    """A token at that distance still changes samples, on at least one side; one that is further away does not."""
    made = codec(name, 8)  # so that the faintest is heard
    context, rng = made.context, np.random.default_rng(1)
    at = context + 2
    semantic = rng.integers(0, 8192, 2 * at + 1)

    def said(changed: np.ndarray) -> Samples:
        return made.decode(changed, SPEAKER, None, (at, at + 1))[0][at * made.hop : (at + 1) * made.hop]

    base = said(semantic)

    def matters(distance: int, tries: int = 8) -> bool:
        for _ in range(tries):
            changed = semantic.copy()
            changed[at + distance] = rng.integers(0, 8192)
            if not np.array_equal(said(changed), base):
                return True
        return False

    # What a refiner hears of the outermost one drowns in rounding; the last bits of a pitch do on ONNX Runtime.
    drowned = name == "refined" or (name == "source_filter" and isinstance(made, OnnxCodec))
    edge = context - drowned
    assert matters(-edge, 40) or matters(edge, 40)
    assert not any(matters(side * distance) for side in (-1, 1) for distance in (context + 1, context + 2))
    reached = {side: next(d for d in range(context, 0, -1) if matters(side * d)) for side in (-1, 1)}
    # The filter of a source rings on: it hears more of what came before than of what follows.
    assert min(reached.values()) >= context - (1 if name in ("wave_generator", "vocos") else 3)


@pytest.mark.parametrize("name", DECODERS)
def test_the_context_is_enough_and_half_of_it_is_not(codec: Make, name: str) -> None:
    made = codec(name)
    length = 3 * made.context
    semantic, start = tokens(length), length // 2
    whole, state = made.decode(semantic, SPEAKER, None, (0, start))
    middle = whole[start * made.hop : (start + 1) * made.hop]

    def error(left: int, right: int) -> float:
        keep = (left, left + 1)
        window = semantic[start - left : start + 1 + right]
        samples, _ = made.decode(window, SPEAKER, state, keep)
        return float(np.abs(samples[left * made.hop : (left + 1) * made.hop] - middle).max() / np.abs(whole).max())

    c = made.context
    enough = max(error(c, c), error(c + 1, c + 1))
    assert enough <= 1e-5
    assert max(error(c // 2, c), error(c, c // 2)) > 10 * enough


@pytest.mark.parametrize("name", DECODERS)
def test_a_longer_look_ahead_is_nearer_and_windows_meet_without_a_step(codec: Make, name: str) -> None:
    made = codec(name)
    semantic = tokens(LONGEST)
    whole, _ = made.decode(semantic, SPEAKER)
    stops = [10, 30, 31, 60, LONGEST]
    errors = []
    for look_ahead in (0, 3, made.context // 2, made.context):
        pieces = grown(made, semantic, stops, look_ahead)
        errors.append(float(np.square(pieces - whole).mean()))
        steps = np.abs(np.diff(pieces))
        for stop in stops[:-1]:
            at = stop * made.hop
            assert steps[at - 1] <= 3 * np.percentile(steps[max(0, at - 960) : at + 960], 99)
    assert errors[-1] <= 1e-8 * np.square(whole).mean()
    if name in ("wave_generator", "vocos"):  # the others' phase is a sum over all pitches: near in sound only
        assert all(nearer < farther for farther, nearer in pairwise(errors))
        assert errors[2] < 1e-2 * errors[0]


def test_a_window_counts_only_when_it_is_accepted(codec: Make) -> None:
    made = codec("source_filter")
    semantic = tokens(60)
    decode = GrowingDecode(made, SPEAKER)
    first = decode.window(semantic, 20, finished=False)
    again = decode.window(semantic, 20, finished=False)
    assert np.array_equal(first.samples, again.samples)
    assert decode.start == 0
    decode.accept(again)
    assert decode.start == 20
    assert decode.window(semantic, 60, finished=True).decoded == min(20, made.context) + 40
