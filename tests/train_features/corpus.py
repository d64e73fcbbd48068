"""Tiny corpora: phonemes as chords of their own, said as wav files or directly as features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparktts.audio.write import write_audio
from sparktts.data.schema import Clip
from sparktts.data.shards import write_shard

RATE = 16000
PHONES = "abdeik"
PITCHES = dict(zip(PHONES, (220.0, 440.0, 880.0, 1500.0, 2500.0, 4000.0), strict=True))


def words_of(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Words of two or three phonemes, with a stress mark, the last with a full stop."""
    words = ["ˈ" + "".join(rng.choice(list(PHONES), int(rng.integers(2, 4)), replace=False)) for _ in range(count)]
    return (*words[:-1], words[-1] + ".")


def sounds(word: str) -> str:
    return "".join(c for c in word if c in PHONES)


def features_of(
    rng: np.random.Generator, words: tuple[str, ...], dim: int, noise: float = 0.3
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """(T, dim) features in which every phoneme has a direction of its own, and the frames of each word."""
    directions = np.random.default_rng(7).normal(size=(len(PHONES) + 1, dim))
    frames: list[np.ndarray] = []
    spans = []

    def hold(index: int, count: int) -> None:
        frames.extend(directions[index] + noise * rng.normal(size=dim) for _ in range(count))

    hold(0, int(rng.integers(1, 6)))
    for word in words:
        start = len(frames)
        for phone in sounds(word):
            hold(1 + PHONES.index(phone), int(rng.integers(3, 7)))
        spans.append((start, len(frames)))
        hold(0, int(rng.integers(0, 12)))
    return np.array(frames, np.float32), spans


def write_corpus(directory: Path, clips: int, seed: int = 0) -> Path:
    """A prepared folder with wav files beside it. Returns the folder of the shards."""
    rng = np.random.default_rng(seed)
    audio, shards = directory / "audio", directory / "shards"
    audio.mkdir(parents=True)
    shards.mkdir()
    made = []
    for i in range(clips):
        words = words_of(rng, 3)
        pieces = [np.zeros(1600)]
        for word in words:
            for phone in sounds(word):
                time = np.arange(int(RATE * rng.uniform(0.07, 0.1))) / RATE
                pieces.append(0.3 * np.sin(2 * np.pi * PITCHES[phone] * time) * np.hanning(len(time)))
            pieces.append(np.zeros(800))
        samples = (np.concatenate(pieces) + 1e-3 * rng.normal(size=sum(map(len, pieces)))).astype(np.float32)
        write_audio(audio / f"{i}.wav", samples, RATE)
        duration = len(samples) / RATE
        made.append(Clip(f"c{i}", f"{i}.wav", "text", "en", "s", duration, -20.0, 4.0, 4, words=words))
    write_shard(shards / "clips-00000.parquet", made, {"root": "../audio"})
    return shards
