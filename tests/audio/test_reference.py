from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from sparktts.audio.read import decode_audio
from sparktts.audio.reference import load_reference, reference_window
from sparktts.audio.write import encode_audio
from sparktts.errors import AudioError, OptionError

from .signals import noise, silence, speechlike


def wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    return encode_audio(samples, rate, "wav")


def with_pauses(seconds: float = 4.0, level: float = 0.5) -> np.ndarray:
    """Speech of which each second ends in 0.2 s of silence."""
    parts = [np.concatenate([speechlike(0.8, seed=i, level=level), silence(0.2)]) for i in range(round(seconds))]
    return np.concatenate(parts)


def test_a_good_clip_has_no_warnings_and_loses_its_outer_silence() -> None:
    clip = load_reference(wav(np.concatenate([silence(1.0), with_pauses(), silence(2.0)])))
    assert clip.warnings == ()
    assert clip.duration == pytest.approx(3.8 + 0.1, abs=0.05)


def test_golden_clips_are_good(clip_24k: Path, clip_16k: Path) -> None:
    assert load_reference(clip_24k).warnings == ()
    assert load_reference(clip_16k).warnings == ()


def test_the_published_rule_does_not_trim() -> None:
    data = wav(np.concatenate([silence(1.0), with_pauses(), silence(2.0)]))
    assert load_reference(data, "first-6s").samples.size == 7 * 16000


def test_clipping_is_warned_of() -> None:
    clipped = np.clip(3.0 * with_pauses(level=0.9), -1, 1)
    (warning,) = load_reference(wav(clipped)).warnings
    assert "clipped" in warning
    assert "lower gain" in warning


def test_a_loud_clip_is_not_called_clipped() -> None:
    assert load_reference(wav(with_pauses(level=1.0))).warnings == ()


@pytest.mark.parametrize(("ratio", "noisy"), [(0.3, True), (0.2, True), (0.02, False)])
def test_noise_is_warned_of(ratio: float, noisy: bool) -> None:
    voice = with_pauses(level=0.3)
    (*warnings,) = load_reference(wav(voice + noise(voice.size, ratio * float(voice.std())))).warnings
    assert bool(warnings) == noisy
    assert all("noisy" in w and "dB above" in w for w in warnings)


@pytest.mark.parametrize("reference", ["whole", "first-6s"])
@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (silence(3.0), "is silent"),
        (1e-4 * speechlike(3.0), "is silent"),
        (speechlike(0.5), "only 0.5 s of sound"),
        (np.concatenate([silence(2), speechlike(0.9), silence(2)]), "only 0.9 s of sound"),
    ],
)
def test_too_little_sound_is_refused(samples: np.ndarray, reason: str, reference: str) -> None:
    with pytest.raises(AudioError, match=reason):
        load_reference((samples, 16000), reference)  # type: ignore[arg-type]


def test_only_the_first_minute_is_used() -> None:
    voice = np.tile(with_pauses(5), 13)
    clip = load_reference((voice, 16000))
    assert clip.duration == pytest.approx(60.0, abs=0.3)
    assert any("longer than 60 s" in w for w in clip.warnings)
    assert load_reference((voice[: 60 * 16000], 16000)).warnings == ()
    assert load_reference((voice, 16000), max_seconds=None).duration > 64
    assert load_reference((voice, 16000), max_seconds=15).duration == pytest.approx(15, abs=0.3)


def test_the_source_hash_is_of_the_files_bytes(clip_24k: Path) -> None:
    data = clip_24k.read_bytes()
    expected = hashlib.sha256(data).hexdigest()
    stream = io.BytesIO(data)
    stream.seek(100)
    for source in (clip_24k, str(clip_24k), data, stream):
        assert load_reference(source).source_sha256 == expected
    samples, rate = decode_audio(clip_24k)
    assert load_reference((samples, rate)).source_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()


def test_volume_can_be_left() -> None:
    voice = with_pauses(level=0.9)
    assert np.abs(load_reference((voice, 16000), volume_normalize=False).samples).max() == pytest.approx(0.9, 1e-3)


def test_a_short_clip_is_tiled_for_the_speaker_encoder() -> None:
    clip = np.arange(40000, dtype=np.float32)
    for reference in ("whole", "first-6s"):
        window = reference_window(clip, reference)  # type: ignore[arg-type]
        assert np.array_equal(window, np.arange(96000) % 40000)


def test_a_long_clip_is_whole_or_its_first_six_seconds() -> None:
    clip = np.arange(200000, dtype=np.float32)
    assert np.array_equal(reference_window(clip, "whole"), clip)
    assert np.array_equal(reference_window(clip, "first-6s"), clip[:96000])
    assert reference_window(clip, "first-6s", seconds=1.03).size == 51 * 320


def test_unknown_rules_and_empty_clips_are_refused() -> None:
    with pytest.raises(OptionError, match="'whole' or 'first-6s'"):
        load_reference((speechlike(2), 16000), "last")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        reference_window(speechlike(2), "last")  # type: ignore[arg-type]
    with pytest.raises(AudioError):
        reference_window(np.zeros(0, np.float32), "whole")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"There is no file 'me\.m4a'"):
        load_reference(tmp_path / "me.m4a")
