"""A sound to look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..audio.samples import Samples

_WINDOW, _HOP, _FLOOR = 512, 160, -70.0  # samples, samples, dB below the loudest


def picture(samples: Samples, sample_rate: int) -> Any:
    """Waveform above spectrogram, as a figure of matplotlib."""
    from matplotlib.figure import Figure

    seconds = len(samples) / sample_rate
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    wave, spectrum = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    step = max(1, len(samples) // 4000)
    wave.plot(np.arange(0, len(samples), step) / sample_rate, samples[::step], linewidth=0.6)
    wave.set(ylim=(-1, 1), yticks=())
    levels = _levels(samples)
    spectrum.imshow(
        levels.T, origin="lower", aspect="auto", extent=(0, seconds, 0, sample_rate / 2000), vmin=_FLOOR, vmax=0
    )
    spectrum.set(xlabel="s", ylabel="kHz")
    return figure


def _levels(samples: Samples) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(frames, bins) dB below the loudest."""
    padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    return np.asarray(np.maximum(10 * np.log10(power / max(float(power.max()), 1e-20) + 1e-12), _FLOOR))
