from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparktts.audio.read import decode_audio
from sparktts.audio.silence import frame_size, speech_bounds, trim_silence

from .signals import noise, silence, speechlike

RATES = st.sampled_from([8000, 16000, 44100])
seconds = st.floats(0.0, 1.5)


def scene(before: float, speech: float, after: float, rate: int, level: float, seed: int) -> np.ndarray:
    voice = speechlike(speech, rate, seed, level)
    return np.concatenate([silence(before, rate), voice, silence(after, rate)])


@settings(max_examples=60, deadline=None)
@given(seconds, st.floats(0.2, 2.0), seconds, RATES, st.floats(0.01, 0.9), st.integers(0, 9), st.booleans())
def test_speech_is_found_between_silence_or_noise(
    before: float, speech: float, after: float, rate: int, level: float, seed: int, noisy: bool
) -> None:
    clip = scene(before, speech, after, rate, level, seed)
    if noisy and before + after >= 0.25 * speech:  # less would not tell noise from a soft consonant
        clip += noise(clip.size, level / 100)
    start, end = speech_bounds(clip, rate)
    assert abs(start - round(before * rate)) <= 0.06 * rate
    assert abs(end - (clip.size - round(after * rate))) <= 0.06 * rate


@settings(max_examples=60, deadline=None)
@given(seconds, st.floats(0.2, 2.0), seconds, RATES, st.floats(0.01, 0.9), st.integers(0, 9))
def test_trimming_twice_removes_nothing_more_than_a_frame(
    before: float, speech: float, after: float, rate: int, level: float, seed: int
) -> None:
    once = trim_silence(scene(before, speech, after, rate, level, seed), rate)
    assert once.size - trim_silence(once, rate).size <= 2 * frame_size(rate)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20000), st.floats(1e-2, 1.0), st.sampled_from([1, 3, 8]))
def test_the_loudest_frame_stays_and_the_result_is_a_slice(seed: int, size: int, level: float, power: int) -> None:
    samples = level * np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32) ** power
    samples[np.random.default_rng(seed).integers(0, size)] = level
    trimmed = trim_silence(samples, 16000, keep=0.0)
    frames = np.array([np.sum(samples[i : i + 160] ** 2) / len(samples[i : i + 160]) for i in range(0, size, 160)])
    start, end = speech_bounds(samples, 16000)
    assert np.shares_memory(trimmed, samples)
    assert np.array_equal(trimmed, samples[start:end])
    assert start <= 160 * int(frames.argmax()) < end


@pytest.mark.parametrize("size", [0, 1, 100, 16000])
def test_silence_is_trimmed_to_nothing(size: int) -> None:
    assert trim_silence(np.zeros(size, np.float32), 16000).size == 0
    assert speech_bounds(np.zeros(size, np.float32), 16000) == (0, 0)


def test_the_margin_is_kept() -> None:
    clip = scene(1.0, 1.0, 1.0, 16000, 0.5, 0)
    assert trim_silence(clip, 16000, keep=0.1).size == pytest.approx(1.2 * 16000, abs=320)


def test_steady_sound_without_pauses_is_not_taken_for_noise() -> None:
    tone = 0.3 * np.sin(np.arange(16000) * 0.1).astype(np.float32)
    assert speech_bounds(tone, 16000) == (0, 16000)


def test_a_soft_ending_is_kept_when_there_are_no_pauses() -> None:
    voice = speechlike(1.0, level=0.5)
    ending = noise(1600, 0.5 * 10 ** (-32 / 20) / 3)
    clip = np.concatenate([voice, ending])
    assert speech_bounds(clip, 16000)[1] == clip.size


def test_trimming_real_speech_twice_changes_little(clip_24k: Path, clip_16k: Path) -> None:
    for path in (clip_24k, clip_16k):
        samples, rate = decode_audio(path)
        once = trim_silence(samples, rate)
        assert once.size >= 0.9 * samples.size
        assert once.size - trim_silence(once, rate).size <= 0.05 * rate
