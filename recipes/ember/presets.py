"""The voices that Ember brings along: blends of the teacher's that it speaks best with.

    python recipes/ember/presets.py MODEL PREPARED WORK --judges JUDGES

MODEL: a checkpoint or an export; PREPARED: the shards of the training's clips. For each language and gender some blends
are cloned from up to 20 s of their own clips, and read the same sentences; recogniser and quality predictor choose two.
Voice files go to MODEL/voices, where they are the model's presets. WORK keeps clips, results and a report;
the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np

from sparktts import SparkTTS, Voice
from sparktts.audio.audio import Audio
from sparktts.audio.samples import Samples
from sparktts.checkpoint.layout import VOICES_DIR
from sparktts.cli.run import guarded
from sparktts.data.audio_source import open_audio
from sparktts.data.schema import Clip
from sparktts.data.shards import read_shards, source_folder
from sparktts.evaluate.judges import open_judges
from sparktts.evaluate.lists import read_lists
from sparktts.evaluate.report import write_reports
from sparktts.evaluate.results import Result
from sparktts.evaluate.run import evaluate
from sparktts.evaluate.systems import SpeechOptions, Synthesis
from sparktts.longform import ReadingOptions
from sparktts.sampling import SamplingOptions
from sparktts.types import Gender

NAMES: dict[tuple[str, Gender], tuple[str, str]] = {
    ("en", "female"): ("ada", "grace"),
    ("en", "male"): ("alan", "ben"),
    ("zh", "female"): ("lan", "mei"),
    ("zh", "male"): ("hao", "wei"),
}
SENTENCES = {
    "en": (
        "The ferry leaves at noon, and the last one comes back before dark.",
        "Nobody expected the old clock to strike thirteen that morning.",
        "She wrote seven letters, but only two of them were ever answered.",
    ),
    "zh": (
        "今天的会议改到下午三点,请大家准时参加。",
        "这条小河从山里流出来,一直流到村子的东边。",
        "他把钥匙忘在办公室了,只好在门口等了半个小时。",
    ),
}
CANDIDATES = 7  # of each language and gender
SECONDS = 20.0
GOOD_ERROR = 0.15  # a preset that is misread more often is only taken where there is no other


def main() -> None:
    options = _parser().parse_args()
    for name, score in choose(options.model, options.prepared, options.work, options.judges):
        print(f"{name}: {score}")


def choose(model: Path, prepared: Path, work: Path, judges: str | None) -> Iterator[tuple[str, str]]:
    """Writes the voice files; yields each name and what was measured. Raises SparkTTSError."""
    tts = SparkTTS.from_pretrained(model)
    heard = open_judges(directory=judges)
    work.mkdir(parents=True, exist_ok=True)
    root = source_folder(prepared)
    folder = model / VOICES_DIR
    folder.mkdir(exist_ok=True)
    for (language, gender), clips in _groups(read_shards(prepared)).items():
        lines = []
        for number, (speaker, own) in enumerate(clips.items()):
            clip = f"{language}_{gender}_{number}.wav"
            Audio(_joined(root, own), tts.sample_rate).save(work / clip)
            sentences = enumerate(SENTENCES[language])
            lines += [f"{language}_{gender}_{number}_{i}|{speaker}|{clip}|{text}" for i, text in sentences]
        path = work / f"{language}_{gender}.lst"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        reader = Synthesis(tts, SpeechOptions(), SamplingOptions(), ReadingOptions(), "ember")
        results = work / f"{language}_{gender}"
        evaluation = evaluate(read_lists([path]), [reader], heard, results)
        write_reports(evaluation, results)
        ranked = sorted(_by_voice(evaluation.results).items(), key=lambda one: _rank(one[1]))
        for name, (clip, found) in zip(NAMES[language, gender], ranked, strict=False):
            _save(tts, work / f"{clip}.wav", gender, folder / f"{name}.json")
            yield name, f"{mean(_errors(found)):.1%} errors, MOS {mean(_quality(found)):.2f}"


def _groups(clips: Iterable[Clip]) -> dict[tuple[str, Gender], dict[str, list[Clip]]]:
    """Clips by speaker, for each language and gender: blends as they are, drawn at random but always the same."""
    found: dict[tuple[str, str], dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        if "+" in clip.speaker and "@" not in clip.speaker and clip.gender and (clip.language, clip.gender) in NAMES:
            found[clip.language, clip.gender][clip.speaker].append(clip)
    chosen: dict[tuple[str, Gender], dict[str, list[Clip]]] = {}
    for group in NAMES:
        long_enough = sorted(s for s, own in found[group].items() if sum(clip.duration for clip in own) >= SECONDS / 2)
        names = random.Random(" ".join(group)).sample(long_enough, min(CANDIDATES, len(long_enough)))
        chosen[group] = {name: found[group][name] for name in names}
    return chosen


def _joined(root: Path, clips: list[Clip]) -> Samples:
    pieces: list[Samples] = []
    seconds = 0.0
    for clip in clips:
        if seconds + clip.duration <= SECONDS or not pieces:
            pieces.append(open_audio(root, clip.audio))
            seconds += clip.duration
    return np.concatenate(pieces)


def _by_voice(results: Iterable[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[result.id.rpartition("_")[0]].append(result)
    return found


def _rank(results: list[Result]) -> tuple[bool, float]:
    """The best first: those that are understood, by quality."""
    return mean(_errors(results)) > GOOD_ERROR, -mean(_quality(results))


def _errors(results: Iterable[Result]) -> list[float]:
    return [1.0 if result.error_rate is None else result.error_rate for result in results]


def _quality(results: Iterable[Result]) -> list[float]:
    return [result.scores.mos or 0.0 for result in results]


def _save(tts: SparkTTS, clip: Path, gender: Gender, path: Path) -> None:
    voice: Voice = tts.clone(clip)
    known = replace(voice.provenance, source_name=None, consent="No person: a blend of synthetic voices.")
    replace(voice, gender=gender, provenance=known).save(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--judges", help="where the judges' packages are; default: beside sparktts")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
