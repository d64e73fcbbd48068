"""The codec of every engine: tokens and waveforms against those of an independent implementation, and bad input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.read import read_audio
from sparktts.audio.reference import reference_window
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine import load_engine
from sparktts.engine.base import Codec
from sparktts.errors import AudioError, InvalidTokens, OptionError
from sparktts.windows import decode_in_windows, windows

CLIPS = ("short", "long")
Golden = Mapping[str, np.ndarray]


@pytest.fixture(scope="module", params=["onnx", "torch"])
def codec(request: pytest.FixtureRequest, mini: Path) -> Codec:
    path = request.getfixturevalue("exported") if request.param == "onnx" else mini
    return load_engine(Checkpoint.open(path), request.param).codec


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def tokens_of(golden: Golden, clip: str) -> tuple[np.ndarray, np.ndarray]:
    return golden[f"{clip}.semantic"][0], golden[f"{clip}.global"][0, 0].astype(np.int64)


def random_tokens(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 8192, count), rng.integers(0, 4096, 32)


def test_it_is_a_codec_of_the_published_rates(codec: Codec) -> None:
    assert isinstance(codec, Codec)
    assert (codec.sample_rate, codec.hop) == (16000, 320)


@pytest.mark.parametrize("clip", CLIPS)
def test_decoded_waveform_is_the_published_one(codec: Codec, golden: Golden, clip: str) -> None:
    samples, state = codec.decode(*tokens_of(golden, clip))
    assert relative_error(samples, golden[f"{clip}.recon"]) < 1e-4
    assert samples.dtype == np.float32
    assert state is None


@pytest.mark.parametrize("clip", CLIPS)
def test_speaker_tokens_are_the_published_ones(codec: Codec, golden: Golden, clip: str) -> None:
    tokens = codec.speaker_tokens(golden[f"{clip}.ref_wav"][0])
    assert tokens.dtype == np.int64
    assert np.mean(tokens == golden[f"{clip}.global"][0, 0]) >= 0.99


@pytest.mark.parametrize("clip", CLIPS)
def test_semantic_tokens_are_the_published_ones(codec: Codec, golden: Golden, clip: str) -> None:
    tokens = codec.semantic_tokens(golden[f"{clip}.wav"])
    assert tokens.shape == golden[f"{clip}.semantic"][0].shape
    assert np.mean(tokens == golden[f"{clip}.semantic"][0]) >= 0.99


@pytest.mark.parametrize("clip", CLIPS)
def test_recording_to_waveform_is_the_published_chain(
    codec: Codec, golden: Golden, clip: str, clip_24k: Path, clip_16k: Path
) -> None:
    audio = normalize_volume(read_audio({"short": clip_24k, "long": clip_16k}[clip]))
    semantic = codec.semantic_tokens(audio)
    speaker = codec.speaker_tokens(reference_window(audio, "first-6s"))
    assert np.mean(semantic == golden[f"{clip}.semantic"][0]) >= 0.99
    assert np.mean(speaker == golden[f"{clip}.global"][0, 0]) >= 0.99
    if np.array_equal(semantic, golden[f"{clip}.semantic"][0]):  # one flipped token changes 1.5 s of sound
        assert relative_error(codec.decode(semantic, speaker)[0], golden[f"{clip}.recon"]) < 1e-4


@pytest.mark.parametrize("window", [40, 120, 1000])
def test_windows_give_the_samples_of_one_decode(codec: Codec, golden: Golden, window: int) -> None:
    semantic, speaker = tokens_of(golden, "short")
    samples = decode_in_windows(codec, semantic, speaker, window)
    assert relative_error(samples, golden["short.recon"]) < 1e-4


def test_windows_cover_a_length_once_with_context_inside_it() -> None:
    parts = list(windows(1003, 250, 67))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 1003)
    assert max(part.stop - part.start for part in parts) <= 250
    assert all(part.first == max(0, part.start - 67) for part in parts)
    assert all(part.last == min(1003, part.stop + 67) for part in parts)


def test_a_token_changes_the_samples_within_the_context_and_no_others(codec: Codec) -> None:
    semantic, speaker = random_tokens(160)
    changed = semantic.copy()
    changed[80] = (changed[80] + 4000) % 8192
    difference = np.abs(codec.decode(semantic, speaker)[0] - codec.decode(changed, speaker)[0])
    touched = np.flatnonzero(difference.reshape(-1, codec.hop).max(axis=1) > 1e-9)
    assert touched.min() >= 80 - codec.context
    assert touched.max() <= 80 + codec.context
    # Not a loose bound: the edges fade, but the change is heard most of the way.
    assert touched.max() - touched.min() > 1.5 * codec.context


def test_codecs_of_one_checkpoint_have_one_fingerprint(mini: Path, codec: Codec) -> None:
    assert Checkpoint.open(mini).codec_fingerprint == codec.fingerprint
    assert len(codec.fingerprint) == 16


@pytest.mark.parametrize(
    ("semantic", "speaker", "words"),
    [
        ([], [0] * 32, "at least one"),
        ([[1, 2]], [0] * 32, "shape"),
        ([0, 8192], [0] * 32, "8192 is outside 0..8191"),
        ([0, -1], [0] * 32, "-1 is outside"),
        ([0.5], [0] * 32, "whole numbers"),
        ([0], [0] * 31, "31 global tokens"),
        ([0], [], "0 global tokens"),
        ([0], [0] * 31 + [4096], "4096 is outside 0..4095"),
    ],
)
def test_wrong_tokens_are_refused_in_one_sentence(
    codec: Codec, semantic: list[int], speaker: list[int], words: str
) -> None:
    with pytest.raises(InvalidTokens, match=words) as caught:
        codec.decode(np.array(semantic), np.array(speaker))
    assert "\n" not in str(caught.value)


def test_windows_refuse_nothing_to_decode_and_no_window(codec: Codec) -> None:
    with pytest.raises(InvalidTokens):
        decode_in_windows(codec, np.array([], np.int64), np.zeros(32, np.int64))
    with pytest.raises(OptionError):
        decode_in_windows(codec, np.array([1]), np.zeros(32, np.int64), window=0)


@pytest.mark.parametrize("length", [0, 1, 319])
def test_clips_too_short_to_hear_are_refused(codec: Codec, length: int) -> None:
    with pytest.raises(AudioError):
        codec.speaker_tokens(np.zeros(length, np.float32))
    with pytest.raises(AudioError):
        codec.semantic_tokens(np.zeros(length, np.float32))


def test_samples_that_are_not_numbers_are_refused(codec: Codec) -> None:
    with pytest.raises(AudioError):
        codec.speaker_tokens(np.full(16000, np.nan, np.float32))


@pytest.mark.parametrize("length", [320, 400, 2000])
def test_the_shortest_clips_and_silence_still_give_tokens(codec: Codec, length: int) -> None:
    assert codec.speaker_tokens(np.zeros(length, np.float32)).shape == (32,)
    if length >= 400:
        assert len(codec.semantic_tokens(np.zeros(length, np.float32))) == (length - 400) // 320 + 1


def test_one_token_decodes_to_one_hop(codec: Codec) -> None:
    samples, _ = codec.decode(*random_tokens(1))
    assert samples.shape == (320,)
    assert np.isfinite(samples).all()
