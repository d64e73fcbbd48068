"""Five hundred utterances in one process: memory stays flat, nothing is left behind, and equal seeds sound equal."""

from __future__ import annotations

import gc
import hashlib
import threading
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from sparktts import ReadingOptions, SparkTTS, Voice

pytestmark = pytest.mark.slow

UTTERANCES = 500
SETTLED = 100  # utterances after which caches are as full as they get
SEEDS = 25
TEXTS = ("Hello there.", "你好，世界。", "One, two, three.", "Mixed 文字 here.")
ALLOWED_MEGABYTES = 8  # a leak of one utterance's samples and cache would be more than 100
UNCHECKED = ReadingOptions(checks=False)  # random weights do not stop by themselves


@pytest.fixture(scope="module")
def tts(exported: Path) -> SparkTTS:
    return SparkTTS.from_pretrained(exported, engine="onnx")


@pytest.fixture(scope="module")
def voice(tts: SparkTTS, clip_24k: Path) -> Voice:
    return tts.clone(clip_24k)


def resident_megabytes() -> float:
    """Memory of this process now, after what nobody refers to is gone."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("resident memory is read from /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def digest(tts: SparkTTS, voice: Voice, number: int) -> tuple[tuple[int, str], str]:
    """Text and seed of an utterance, and what its samples hash to."""
    text, seed = TEXTS[number % len(TEXTS)], number % SEEDS
    audio = tts.say(text, voice=voice, seed=seed, reading=UNCHECKED)
    return (seed, text), hashlib.sha256(audio.samples.tobytes()).hexdigest()


def test_five_hundred_utterances_are_the_same_per_seed_in_the_same_memory(
    tts: SparkTTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 60)
    heard: dict[tuple[int, str], str] = {}
    settled = 0.0
    for number in range(UTTERANCES):
        key, found = digest(tts, voice, number)
        assert heard.setdefault(key, found) == found
        if number + 1 == SETTLED:
            settled = resident_megabytes()
    assert len(heard) == SEEDS * len(TEXTS)
    assert len(set(heard.values())) == len(heard)
    assert resident_megabytes() - settled < ALLOWED_MEGABYTES


def test_streams_that_are_left_early_leave_no_memory_and_no_thread(
    tts: SparkTTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 60)
    settled, before = 0.0, threading.active_count()
    for number in range(120):
        with tts.stream(TEXTS[number % len(TEXTS)], voice=voice, seed=number, reading=UNCHECKED) as stream:
            for count, _ in enumerate(stream):
                if number % 3 and count:
                    break
        if number == 30:
            settled = resident_megabytes()
    assert resident_megabytes() - settled < ALLOWED_MEGABYTES
    assert threading.active_count() <= before
