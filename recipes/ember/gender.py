"""A judge of gender for created voices: a linear rule on CAM++ embeddings, learned from the teacher's speakers.

    python recipes/ember/gender.py PREPARED --judges JUDGES -o recipes/ember/eval/gender.json

PREPARED: the shards of the training's clips, of which one of each speaker with a known gender is heard. It says how
many of the speakers that it did not learn from are told rightly.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparktts.cli.run import guarded
from sparktts.data.audio_source import open_audio
from sparktts.data.schema import Clip
from sparktts.data.shards import read_shards, source_folder
from sparktts.errors import OptionError
from sparktts.evaluate.judges import open_judges
from sparktts.evaluate.judges.base import SpeakerEncoder, unit
from sparktts.files import write_atomically

Vectors = npt.NDArray[np.float64]
SPEAKERS = 200  # of each gender
STEPS, RATE, DECAY = 3000, 5.0, 1e-3


def main() -> None:
    options = _parser().parse_args()
    judge = open_judges(directory=options.judges).speaker
    if judge is None:
        raise OptionError("CAM++ is not there: recipes/ember/judges.sh gets it.")
    root = str(source_folder(options.prepared))
    vectors, women = _heard(list(_chosen(options.prepared, random.Random(options.seed))), root, judge)
    apart = np.arange(len(women)) % 3 == 0
    weights, bias = learned(vectors[~apart], women[~apart])
    right = float(np.mean((vectors[apart] @ weights + bias > 0) == women[apart]))
    weights, bias = learned(vectors, women)
    rule = {
        "what": "woman if weights . embedding + bias > 0; embedding: CAM++, of length 1",
        "speakers": len(women),
        "right_of_speakers_apart": round(right, 3),
        "bias": round(bias, 3),
        "weights": [round(float(weight), 2) for weight in weights],
    }
    write_atomically(options.output, (json.dumps(rule) + "\n").encode())
    print(f"{len(women)} speakers; {right:.1%} right of {int(apart.sum())} that the rule did not learn from.")


def learned(vectors: Vectors, women: npt.NDArray[np.bool_]) -> tuple[Vectors, float]:
    """Logistic regression. vectors: (N, d) of length 1. Returns weights (d,) and bias."""
    weights, bias = np.zeros(vectors.shape[1]), 0.0
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(-(vectors @ weights + bias))) - women
        weights -= RATE * (vectors.T @ wrong / len(women) + DECAY * weights)
        bias -= RATE * float(wrong.mean())
    return weights, bias


def _chosen(prepared: Path, rng: random.Random) -> Iterator[Clip]:
    """A clip of each of so many speakers of either gender."""
    clips: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in read_shards(prepared):
        if clip.gender is not None:
            clips[clip.gender, clip.speaker].append(clip)
    for gender in ("female", "male"):
        speakers = sorted(key for key in clips if key[0] == gender)
        for key in rng.sample(speakers, min(SPEAKERS, len(speakers))):
            yield rng.choice(clips[key])


def _heard(clips: list[Clip], root: str, judge: SpeakerEncoder) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    vectors = [unit(judge.embed(open_audio(root, clip.audio))) for clip in clips]
    return np.array(vectors, np.float64), np.array([clip.gender == "female" for clip in clips])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--judges")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
