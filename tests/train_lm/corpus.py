"""Synthetic token shards: what is said decides the tokens, so that there is something to learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparktts.checkpoint.layout import Checkpoint
from sparktts.data.schema import Clip
from sparktts.data.shards import write_shard
from sparktts.train.lm.options import LanguageModelOptions
from sparktts.train.options import parse_options

LETTERS = "abcdefgh"


def clips(codec: str, count: int = 60, seed: int = 0) -> list[Clip]:
    """Each letter is 4 tokens of its own; three speakers with fixed voices."""
    random = np.random.default_rng(seed)
    voices = [tuple(int(v) for v in random.integers(0, 4096, 32)) for _ in range(3)]
    made = []
    for number in range(count):
        words = tuple(
            "".join(random.choice(list(LETTERS), int(random.integers(1, 4)))) for _ in range(int(random.integers(2, 5)))
        )
        semantic, times, at = [], [], 0
        for word in words:
            for letter in word:
                semantic += [100 * (LETTERS.index(letter) + 1) + step for step in range(4)]
            times.append((at / 50, len(semantic) / 50))
            at = len(semantic)
        speaker = number % 3
        made.append(
            Clip(
                id=f"clip{seed}-{number}",
                audio=f"{number}.wav",
                text=" ".join(words),
                language="en",
                speaker=f"speaker{speaker}",
                duration=len(semantic) / 50,
                loudness=-20.0,
                syllables_per_second=4.0,
                speed_value=4,
                gender="female" if speaker else "male",
                f0_mean=180.0,
                pitch_value=250 + speaker,
                pitch_level=2,
                speed_level=2,
                words=words,
                word_times=tuple(times),
                semantic=tuple(semantic),
                global_tokens=voices[speaker],
                codec=codec,
            )
        )
    return made


def write_shards(folder: Path, mini: Path, count: int = 60) -> Path:
    """Two shards."""
    made = clips(Checkpoint.open(mini).codec_fingerprint, count)
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder / "clips-00000.parquet", made[: count // 2])
    write_shard(folder / "clips-00001.parquet", made[count // 2 :])
    return folder


def settings(out: Path, shards: Path, mini: Path, **changes: Any) -> LanguageModelOptions:
    """A tiny configuration. changes: sections, merged into it."""
    values: dict[str, Any] = {
        "run": {
            "out": str(out),
            "steps": 12,
            "accelerator": "cpu",
            "log_every": 4,
            "validate_every": 6,
            "save_every": 6,
        },
        "data": {"shards": [str(shards)], "validation": 0.1},
        "model": {"source": "scratch", "layers": 2, "width": 32, "inner": 64, "heads": 2, "kv_heads": 1},
        "codec": str(mini),
        "batch": {"tokens": 600},
        "optimizer": {"learning_rate": 5e-3, "warmup": 4},
    }
    for section, change in changes.items():
        old = values.get(section)
        values[section] = {**old, **change} if isinstance(old, dict) and isinstance(change, Mapping) else change
    return parse_options(values, LanguageModelOptions)
