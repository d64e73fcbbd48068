"""Signals that behave like speech, from a seed: syllables of noise and harmonics with pauses between them."""

from __future__ import annotations

import numpy as np


def speechlike(seconds: float, sample_rate: int = 16000, seed: int = 0, level: float = 0.2) -> np.ndarray:
    """(N,) float32: voiced syllables of about 0.2 s, the outer ones starting and ending loud."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    period = seconds / max(1, round(seconds / 0.2))
    syllables = 0.55 + 0.45 * np.cos(2 * np.pi * time / period)
    signal = voice * syllables
    return (level * signal / np.abs(signal).max()).astype(np.float32)


def silence(seconds: float, sample_rate: int = 16000) -> np.ndarray:
    return np.zeros(round(seconds * sample_rate), np.float32)


def noise(count: int, rms: float, seed: int = 1) -> np.ndarray:
    return (rms * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)
