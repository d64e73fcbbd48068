"""A source, an impulse train of a given pitch and noise, through filters of minimum phase, on numpy.

What the network of a `source_filter` decoder says of each token becomes samples. The impulses' phase is a running sum
and the noise a function of the sample's number: both are the state with which the next window goes on.
Source: source-filter model of speech; minimum phase from the real cepstrum (Oppenheim and Schafer).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .samples import Samples
from .spectra import hann, overlap_add, polar

LOG_LIMITS = (-12.0, 5.0)  # of an envelope, natural logarithm of the gain
FIRST_LEVELS = (-3.0, -5.0)  # envelopes of an untrained network: harmonics, noise
IMPULSE_EPS = 1e-4  # closer to an impulse than so many periods, its peak value is taken

Floats = npt.NDArray[Any]


class SourceState(NamedTuple):
    """Where the source stands at a sample: cycles of the impulse train (0..1), and the sample's number."""

    phase: float = 0.0
    position: int = 0


class Controls(NamedTuple):
    """What the network says of T frames; float32."""

    log_f0: Samples  # (T,), natural logarithm of Hz
    voiced: Samples  # (T,), 0 or 1
    harmonic: Samples  # (T, bands), natural logarithm of the gain at points on the mel scale
    noise: Samples  # (T, bands)


@dataclass(frozen=True)
class SourceFilter:
    """The settings of a `source_filter` decoder. hop and n_fft in samples, frequencies in Hz.

    Frame t is centred on sample hop * t + hop / 2.
    """

    sample_rate: int
    hop: int
    n_fft: int
    f0_min: float
    f0_max: float
    bands: int

    @property
    def margin(self) -> int:
        """Frames on each side of a frame whose controls influence its samples, the phase aside."""
        return self.n_fft // self.hop + 3

    def decode(
        self, values: Samples, state: SourceState, start: int, stop: int, around: int = 0
    ) -> tuple[Samples, SourceState]:
        """The samples of frames start..stop of a window, and of `around` frames on each side, as far as there are.

        values: (T, 2 + 2 * bands), what the network says; state: of the source at frame `start`. Returns (hop * n,)
        samples, unbounded, and the state at frame `stop`.
        """
        first, last = max(0, start - around), min(len(values), stop + around)
        low, high = max(0, first - self.margin), min(len(values), last + self.margin)
        controls = self.controls(values[low:high])
        cycles = self._phase(controls.log_f0, (start - low) * self.hop, state.phase)
        samples = self._filter(controls, cycles[:-1], state.position - (start - low) * self.hop)
        after = float(cycles[(stop - low) * self.hop]) % 1.0
        kept = samples[(first - low) * self.hop : (last - low) * self.hop]
        return kept, SourceState(after, state.position + (stop - start) * self.hop)

    def controls(self, values: Samples) -> Controls:
        """values: (T, 2 + 2 * bands) as the network gives them: pitch, voicing, envelopes of harmonics and noise."""
        low, high = math.log(self.f0_min), math.log(self.f0_max)
        share = 1.0 / (1.0 + np.exp(-np.clip(values[:, 0], -80.0, 80.0)))
        harmonic, noise = np.split(values[:, 2:], 2, axis=-1)
        return Controls(
            (low + (high - low) * share).astype(np.float32),
            (values[:, 1] > 0).astype(np.float32),
            np.clip(harmonic + np.float32(FIRST_LEVELS[0]), *LOG_LIMITS),
            np.clip(noise + np.float32(FIRST_LEVELS[1]), *LOG_LIMITS),
        )

    def _phase(self, log_f0: Samples, anchor: int, value: float) -> Floats:
        """(hop * T + 1,) cycles of the impulse train in float64; `value` at sample `anchor`."""
        f0 = self._per_sample(np.exp(log_f0.astype(np.float64)))
        total = np.concatenate([[0.0], np.cumsum(f0 / self.sample_rate)])
        cycles: Floats = total - total[anchor] + value
        return cycles

    def _filter(self, controls: Controls, cycles: Floats, first: int) -> Samples:
        """(hop * T,) samples; first: the number of the first one."""
        f0 = self._per_sample(np.exp(controls.log_f0))
        turns = (cycles - np.round(cycles)).astype(np.float32)  # -0.5..0.5, the impulse at 0
        source = impulses(turns, f0, self.sample_rate) * self._per_sample(controls.voiced)
        hiss = position_noise(first + np.arange(len(source), dtype=np.int64))
        spectrum = self._frames(source) * self._response(controls.harmonic)
        spectrum += self._frames(hiss) * self._response(controls.noise)
        samples = overlap_add(np.fft.irfft(spectrum, self.n_fft).astype(np.float32), self.hop)
        return samples[self.hop // 2 : self.hop // 2 + len(source)]

    def _frames(self, source: Samples) -> npt.NDArray[Any]:
        """(hop * T,) -> (T, n_fft / 2 + 1): spectra of windows that add up to one."""
        padded = np.pad(source, self.hop // 2)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * self.hop)[:: self.hop]
        return np.fft.rfft(windows * hann(2 * self.hop), self.n_fft)

    def _response(self, envelope: Samples) -> npt.NDArray[np.complex64]:
        """(T, bands) log gains -> (T, n_fft / 2 + 1) complex, of minimum phase."""
        below, share = band_places(self.bands, self.n_fft, self.sample_rate)
        levels = envelope[:, below] * (1 - share) + envelope[:, below + 1] * share
        cepstrum = np.fft.irfft(levels, self.n_fft)
        cepstrum[:, self.n_fft // 2 + 1 :] = 0.0  # what is left is causal; twice of its odd part makes the phase
        cepstrum[:, [0, self.n_fft // 2]] = 0.0
        return polar(np.exp(levels), 2 * np.fft.rfft(cepstrum).imag)

    def _per_sample(self, frames: Floats) -> Floats:
        """(T,) values of frames -> (hop * T,), linear between the frames' centres, constant at both ends."""
        ends = np.concatenate([frames[:1], frames, frames[-1:]])
        share = (np.arange(self.hop) / self.hop).astype(frames.dtype)
        between = ends[:-1, None] + (ends[1:] - ends[:-1])[:, None] * share
        samples: Floats = between.reshape(-1)[self.hop // 2 : -(self.hop // 2)]
        return samples


def impulses(turns: Samples, f0: Samples, sample_rate: int) -> Samples:
    """A band-limited impulse train of unit power: all harmonics below the Nyquist frequency, the last one faded in.

    turns: (N,) cycles from the nearest impulse, -0.5..0.5; f0: (N,) Hz.
    """
    harmonics = np.float32(sample_rate / 2) / f0
    whole = np.floor(harmonics) - 1
    last = harmonics - np.floor(harmonics)  # weight of the highest one, so that none appears or vanishes at once
    angle = np.float32(math.pi) * turns
    near = np.abs(turns) < IMPULSE_EPS
    sine = np.sin(np.where(near, np.float32(1.0), angle))
    # Sum of cos(2 k angle) for k = 1..whole: Dirichlet's kernel.
    total = np.where(near, whole, np.sin((2 * whole + 1) * angle) / (2 * sine) - np.float32(0.5))
    total += last * np.cos(2 * (whole + 1) * angle)
    train: Samples = total * np.sqrt(np.float32(2.0) / (whole + np.square(last)))
    return train


def position_noise(positions: npt.NDArray[np.int64]) -> Samples:
    """White noise of unit power, a function of each sample's number alone."""
    # A 32-bit integer hash; products of unsigned numbers wrap around.
    value = positions.astype(np.uint32)
    for factor, shift in ((0x7FEB352D, 15), (0x846CA68B, 16)):
        value ^= value >> np.uint32(16)
        value *= np.uint32(factor)
        value ^= value >> np.uint32(shift)
    noise: Samples = (value.astype(np.float32) / np.float32(2**31) - np.float32(1.0)) * np.float32(math.sqrt(3.0))
    return noise


@lru_cache(maxsize=8)
def band_places(bands: int, n_fft: int, sample_rate: int) -> tuple[npt.NDArray[np.int64], Samples]:
    """Between which points, equally far apart in mel, each bin lies: (n_fft / 2 + 1,) the lower one, the way from it.

    Looked up rather than multiplied by: a product this small would wake the threads of a BLAS, which then spin.
    """
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    place = 2595 * np.log10(1 + hz / 700)
    place = place / place[-1] * (bands - 1)
    below = np.minimum(place.astype(np.int64), bands - 2)
    share = (place - below).astype(np.float32)
    for shared in (below, share):  # through the cache
        shared.setflags(write=False)
    return below, share
