"""What rooms and microphones do to a reference clip, so that a voice is recognised from any recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...audio.loudness import normalize_volume
from ...audio.samples import Samples

SAMPLE_RATE = 16000
# How often each of them happens; a clip may get none or all.
ROOM, NOISE, BAND, OVERLOAD = 0.3, 0.6, 0.4, 0.15
SNR = (8.0, 35.0)  # dB
DECAY = (0.1, 0.5)  # seconds in which the echo of a room falls by 60 dB
DIRECT = (3.0, 15.0)  # dB by which the voice itself is louder than its echo
LOW_CUT, HIGH_CUT = (50.0, 400.0), (2500.0, 7500.0)  # Hz; the phone's band is 300 to 3400
GAIN = (1.5, 6.0)  # of an overload, above full scale
_AUDIBLE = 1e-3
_STEEPNESS = 6  # order of the cuts: 36 dB an octave

Spectrum = npt.NDArray[np.complex128]


def degraded(samples: Samples, generator: np.random.Generator) -> Samples:
    """The clip as a worse recording of it would sound: echo, noise, a narrower band, cut-off peaks.

    samples: (N,) float32 at 16 kHz, volume-normalised; silence stays what it is. Returns the same, volume-normalised.
    """
    audible = samples[np.abs(samples) > _AUDIBLE]
    if not audible.size:
        return samples
    rms = float(np.sqrt(np.mean(np.square(audible, dtype=np.float64))))
    room, noise, band, overload = generator.random(4) < (ROOM, NOISE, BAND, OVERLOAD)
    size = 1 << (len(samples) + round(DECAY[1] * SAMPLE_RATE) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size)
    if room:
        spectrum *= _room(generator, size)
    if noise:
        spectrum += _noise(generator, size, rms)
    if band:
        spectrum *= _band(generator, size)
    result = np.fft.irfft(spectrum, size)[: len(samples)]
    if overload:
        result = np.clip(result * (generator.uniform(*GAIN) / np.abs(result).max()), -1.0, 1.0)
    return normalize_volume(result.astype(np.float32))


def shortened(samples: Samples, generator: np.random.Generator, least: float = 2.0) -> Samples:
    """A piece of at least so many seconds, from any place. samples: (N,) at 16 kHz; a shorter clip is left whole."""
    shortest = round(least * SAMPLE_RATE)
    if len(samples) <= shortest:
        return samples
    length = int(generator.integers(shortest, len(samples) + 1))
    start = int(generator.integers(0, len(samples) - length + 1))
    return samples[start : start + length]


def _room(generator: np.random.Generator, size: int) -> Spectrum:
    """The voice itself, and noise that dies away; with the energy of the voice alone."""
    seconds = np.arange(round(DECAY[1] * SAMPLE_RATE)) / SAMPLE_RATE
    tail = generator.standard_normal(len(seconds)) * 10 ** (-3 * seconds / generator.uniform(*DECAY))
    tail[: round(generator.uniform(0.002, 0.01) * SAMPLE_RATE)] = 0.0
    tail *= 10 ** (-generator.uniform(*DIRECT) / 20) / np.linalg.norm(tail)
    tail[0] = 1.0
    return np.asarray(np.fft.rfft(tail / np.linalg.norm(tail), size))


def _noise(generator: np.random.Generator, size: int, rms: float) -> Spectrum:
    """Noise from white to brown, below speech of this level."""
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    shape = np.maximum(hertz, 20.0) ** -generator.uniform(0.0, 1.0)
    drawn = (generator.standard_normal(len(hertz)) + 1j * generator.standard_normal(len(hertz))) * shape
    # Mean square of the real signal of this spectrum, nearly.
    level = np.sqrt(2 * np.mean(np.abs(drawn) ** 2) / (2 * size))
    return np.asarray(drawn * (rms * 10 ** (-generator.uniform(*SNR) / 20) / level))


def _band(generator: np.random.Generator, size: int) -> npt.NDArray[np.float64]:
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    low, high = generator.uniform(*LOW_CUT), np.exp(generator.uniform(*np.log(HIGH_CUT)))
    gain = 1 / np.sqrt(1 + (hertz / high) ** (2 * _STEEPNESS))
    return np.asarray(gain / np.sqrt(1 + (low / np.maximum(hertz, 1e-3)) ** (2 * _STEEPNESS)))
