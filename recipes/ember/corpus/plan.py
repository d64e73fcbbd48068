"""Who says what, and how fast: a pure function of texts, language and seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voices import Voice, choose_voice

from sparktts.text.duration import estimate_seconds

TURNS = 12  # a shard: about five minutes of speech
SLOWEST, FASTEST = 0.75, 1.3


@dataclass(frozen=True)
class Line:
    """tempo: how fast, 1: as the voice would by itself."""

    text: str
    tempo: float


@dataclass(frozen=True)
class Turn:
    """Lines that one voice says, so that a reference and a target can be of the same speaker."""

    voice: Voice
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Shard:
    """Turns that are written together. seconds: of speech, estimated."""

    name: str
    language: str
    turns: tuple[Turn, ...]
    seconds: float


def plan(texts: Sequence[str], language: str, seed: int, hours: float) -> list[Shard]:
    """Shards with about so many hours of speech. More hours begin with the same shards."""
    turns, seconds = _turns(texts, language, seed), 0.0
    shards: list[Shard] = []
    while seconds < hours * 3600:
        part = tuple(next(turns) for _ in range(TURNS))
        length = sum(_seconds(line, language) for turn in part for line in turn.lines)
        shards.append(Shard(f"{language}{seed}_{len(shards):04d}", language, part, length))
        seconds += length
    return shards


def _turns(texts: Sequence[str], language: str, seed: int) -> Iterator[Turn]:
    rng = random.Random(f"voices {language} {seed}")
    lines = _shuffled(texts, random.Random(f"texts {language} {seed}"))
    while True:
        voice = choose_voice(rng, language)
        yield Turn(voice, tuple(Line(next(lines), _tempo(rng)) for _ in range(rng.randint(3, 8))))


def _shuffled(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Every text once, then every text again in another order, without end."""
    while True:
        yield from rng.sample(texts, len(texts))


def _tempo(rng: random.Random) -> float:
    return round(rng.uniform(SLOWEST, FASTEST), 2) if rng.random() < 0.5 else 1.0


def _seconds(line: Line, language: str) -> float:
    """Fitted to 3,600 utterances: the teacher is a little quicker than the estimate, and rests at both ends."""
    spoken = estimate_seconds(line.text, "en" if language == "en" else "zh")
    return (0.87 * spoken + 0.42) / line.tempo + 0.7
