"""Sound in parts: every format is the whole sound, and its parts come out while it is made."""

from __future__ import annotations

import io

import numpy as np
import pytest

from sparktts.audio.live import LiveEncoder, LiveWriter
from sparktts.audio.read import decode_audio
from sparktts.audio.resample import Resampler, resample
from sparktts.audio.stretch import Stretch
from sparktts.audio.write import FORMATS
from sparktts.errors import OptionError

RATE = 16000
TONE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE)).astype(np.float32)


def parts(samples: np.ndarray, size: int = 1777) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def dominant(samples: np.ndarray, rate: int) -> float:
    """Hz of the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("target_rate", [None, 24000])
def test_parts_of_every_format_are_the_whole_sound_and_come_at_once(format: str, target_rate: int | None) -> None:
    encoder = LiveEncoder(RATE, format, {"comment": "synthetic"}, target_rate)
    pieces = [encoder.add(part) for part in parts(TONE)]
    data = b"".join(pieces) + encoder.end()
    half = sum(map(len, pieces[: len(pieces) // 2])) / len(data)
    assert 0.3 < half < 0.8  # nothing is kept back until the end
    if format == "pcm":
        back, rate = np.frombuffer(data, "<i2") / np.float32(32768), encoder.rate
    else:
        back, rate = decode_audio(data)
        assert b"synthetic" in data
    assert rate == (48000 if format in ("opus", "ogg") else target_rate or RATE)
    assert len(back) / rate == pytest.approx(3.0, abs=0.11)  # codecs add a frame or two
    assert dominant(back[: 2 * rate], rate) == pytest.approx(220, abs=1)


def test_a_writer_gives_the_bytes_of_the_encoder_and_mends_a_wav_head() -> None:
    for format in ("wav", "flac", "mp3"):
        file = io.BytesIO()
        with LiveWriter(file, RATE, format, {"title": "t"}) as writer:
            for part in parts(TONE):
                writer.write(part)
        back, rate = decode_audio(file.getvalue())
        assert len(back) / rate == pytest.approx(3.0, abs=0.11)
        if format == "wav":
            assert file.getvalue()[4:8] == (len(file.getvalue()) - 8).to_bytes(4, "little")


def test_resampling_in_parts_equals_the_whole() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 20000).astype(np.float32)
    resampler = Resampler(RATE, 24000)
    made = np.concatenate([*(resampler.add(part) for part in parts(noise)), resampler.end()])
    whole = resample(noise, RATE, 24000)
    assert len(made) == len(whole)
    assert np.abs(made - whole).max() < 1e-4


@pytest.mark.parametrize("speed", [0.25, 0.4, 0.75, 1.5, 2.0, 4.0])
def test_stretching_changes_the_length_and_not_the_pitch(speed: float) -> None:
    stretch = Stretch(RATE, speed)
    made = np.concatenate([*(stretch.add(part) for part in parts(TONE)), stretch.end()])
    assert len(made) / RATE == pytest.approx(3.0 / speed, rel=0.05)
    assert dominant(made, RATE) == pytest.approx(220, abs=3)


def test_nothing_stretched_is_nothing_and_senseless_speeds_are_refused() -> None:
    assert Stretch(RATE, 2.0).end().size == 0
    for speed in (0.1, 5.0, float("nan")):
        with pytest.raises(OptionError, match="speed"):
            Stretch(RATE, speed)
