"""Loading, loudness, window and mel against an independent implementation of the published model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.mel import MelSpectrogram
from sparktts.audio.read import read_audio
from sparktts.audio.reference import load_reference, reference_window

CLIPS = [("short", "clip_24k"), ("long", "clip_16k")]


@pytest.fixture(params=CLIPS, ids=lambda pair: pair[0])
def case(request: pytest.FixtureRequest) -> tuple[str, Path]:
    name, fixture = request.param
    return name, request.getfixturevalue(fixture)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


def test_reading_and_volume_equal_the_published_model(case: tuple[str, Path], golden: Mapping[str, np.ndarray]) -> None:
    name, path = case
    assert_close(normalize_volume(read_audio(path)), golden[f"{name}.wav"])


def test_first_six_seconds_rule_equals_the_published_model(
    case: tuple[str, Path], golden: Mapping[str, np.ndarray]
) -> None:
    name, path = case
    clip = load_reference(path, "first-6s")
    assert_close(clip.samples, golden[f"{name}.wav"])
    assert_close(reference_window(clip.samples, "first-6s"), golden[f"{name}.ref_wav"][0])


def test_mel_equals_the_published_model(case: tuple[str, Path], golden: Mapping[str, np.ndarray]) -> None:
    name, _ = case
    assert_close(MelSpectrogram()(golden[f"{name}.ref_wav"][0]), golden[f"{name}.mel"][0])
