"""What a model's speech is worth: every figure that Ember is held to, in one table.

    python -m benchmarks.quality [MODEL] -o OUT --judges JUDGES [--recordings DIR] [--humans DIR] [--limit N]

Reads recipes/ember/eval in the voices of its prompts, creates voices of every gender, pitch and speed, and measures how
fast it is. The codec alone is heard on the prompts, or on --recordings: a folder with somebody's reading of the lists.
--humans: a folder of clips of people, NAME-NUMBER.wav or NAME_NUMBER.wav, NAME for each reader. OUT goes on where it
was stopped, and holds the reports of `sparktts eval` and figures.json. Needs the extras eval and train, and the judges.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.machine import describe
from benchmarks.roundtrip import SUFFIXES, there_and_back
from sparktts import SparkTTS, Style, Voice
from sparktts.audio.read import read_audio
from sparktts.audio.samples import Samples
from sparktts.audio.silence import trim_silence
from sparktts.data.attributes import pitch
from sparktts.evaluate.judges import Judges, open_judges
from sparktts.evaluate.judges.base import SAMPLE_RATE, cosine, unit
from sparktts.evaluate.lists import EvaluationList, Item, read_lists
from sparktts.evaluate.metrics import main_metric
from sparktts.evaluate.report import write_reports
from sparktts.evaluate.run import evaluate
from sparktts.evaluate.summary import Figures
from sparktts.evaluate.systems import Recordings, SpeechOptions, Synthesis
from sparktts.longform import ReadingOptions
from sparktts.sampling import SamplingOptions
from sparktts.style import LEVELS
from sparktts.text.duration import count_syllables
from sparktts.types import Gender

LISTS = Path(__file__).parents[1] / "recipes" / "ember" / "eval"
SENTENCES = {
    "en": "The morning train was late again, so we walked along the river.",
    "zh": "早上的火车又晚点了,我们就沿着河边走了一段路。",
}
GENDER_RULE = LISTS / "gender.json"
PLAIN = 10  # created voices of each gender and language of which nothing but the gender is asked
GENDERS: tuple[Gender, ...] = ("female", "male")
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ember")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--judges")
    parser.add_argument("--recordings", type=Path)
    parser.add_argument("--humans", type=Path)
    parser.add_argument("--limit", type=int, help="sentences of each list; default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    tts, judges = SparkTTS.from_pretrained(args.model), open_judges(directory=args.judges)
    lists = [replace(one, items=one.items[: args.limit]) for one in read_lists(sorted(LISTS.glob("eval_*.lst")))]
    found: dict[str, float] = {}
    steps = [speech(tts, lists, judges, args.output / "speech", args.seed), created(tts, judges, args.seed), speed(tts)]
    spoken = lists if args.recordings else [_of_prompts(lists)]
    steps.append(round_trip(tts, spoken, judges, args.recordings or LISTS / "prompts", args.output))
    if args.humans:
        steps.append(people(tts, judges, args.humans))
    print(describe())
    for step in steps:
        for name, value in step:
            found[name] = value
            print(f"{name:40} {value:.3f}", flush=True)
    (args.output / "figures.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def speech(
    tts: SparkTTS, lists: Sequence[EvaluationList], judges: Judges, out: Path, seed: int
) -> Iterator[tuple[str, float]]:
    """The lists in the voices of their prompts."""
    speaker = Synthesis(tts, SpeechOptions(seed=seed), SamplingOptions(), ReadingOptions(), tts.checkpoint.name)
    evaluation = evaluate(lists, [speaker], judges, out)
    write_reports(evaluation, out)
    for figures in evaluation.figures():
        for name, value in _told(figures):
            yield f"speech, {figures.language}: {name}", value
    yield "speech: failures", evaluation.failures


def round_trip(
    tts: SparkTTS, lists: Sequence[EvaluationList], judges: Judges, recordings: Path, out: Path
) -> Iterator[tuple[str, float]]:
    """Recordings of the lists through the codec: what recogniser and STOI make of it."""
    codec = tts.engine.codec
    known = {item.id for one in lists for item in one.items}
    paths = [path for path in sorted(recordings.iterdir()) if path.suffix in SUFFIXES and path.stem in known]
    alike = there_and_back(codec, codec.semantic_tokens, paths, out / "made")
    there = {path.stem for path in paths}
    read = [replace(one, items=tuple(item for item in one.items if item.id in there)) for one in lists]
    systems = [Recordings("recordings", recordings), Recordings("codec", out / "made")]
    evaluation = evaluate([one for one in read if one.items], systems, judges, out / "roundtrip")
    write_reports(evaluation, out / "roundtrip")
    for figures in evaluation.figures():
        for name, value in _told(figures):
            yield f"{figures.system}, {figures.language}: {name}", value
    yield from ((f"codec: {name}", value) for name, value in alike.items() if name in ("stoi", "pesq"))


def created(tts: SparkTTS, judges: Judges, seed: int) -> Iterator[tuple[str, float]]:
    """Voices of each gender, pitch and speed: whether they are what was asked for.

    The gender is told by a rule on CAM++ embeddings that recipes/ember/gender.py learned from the teacher's speakers;
    ranks are compared within each gender and language.
    """
    rule = json.loads(GENDER_RULE.read_text(encoding="utf-8"))
    plain = [
        _is_woman(rule, judges, np.asarray(tts.say(text, style=Style(gender=gender), seed=seed + number).samples))
        is (gender == "female")
        for gender, text, number in product(GENDERS, SENTENCES.values(), range(PLAIN))
    ]
    yield "created voices: gender right, nothing else asked", float(np.mean(plain))
    ranks: dict[str, dict[str, list[tuple[int, float]]]] = {
        f"{what}, {gender}": {language: [] for language in SENTENCES}
        for what in ("pitch", "speed")
        for gender in GENDERS
    }
    right = []
    asked = product(GENDERS, SENTENCES, range(len(LEVELS)), range(len(LEVELS)))
    for number, (gender, language, high, fast) in enumerate(asked):
        text = SENTENCES[language]
        style = Style(gender=gender, pitch=LEVELS[high], speed=LEVELS[fast])
        samples = np.asarray(tts.say(text, style=style, seed=seed + number).samples)
        right.append(_is_woman(rule, judges, samples) is (gender == "female"))
        if (found := pitch(samples)) is not None:
            ranks[f"pitch, {gender}"][language].append((high, found.mean))
        seconds = len(trim_silence(samples, tts.sample_rate)) / tts.sample_rate
        ranks[f"speed, {gender}"][language].append((fast, count_syllables(text) / max(seconds, 0.1)))
    yield "created voices: gender right, every pitch and speed", float(np.mean(right))
    for name, languages in ranks.items():
        correlations = [spearmanr(*zip(*pairs, strict=True)).statistic for pairs in languages.values()]
        yield f"created voices: Spearman of {name}", float(np.mean(correlations))


def _is_woman(rule: Mapping[str, Any], judges: Judges, samples: Samples) -> bool:
    assert judges.speaker is not None
    return bool(np.dot(rule["weights"], unit(judges.speaker.embed(samples))) + rule["bias"] > 0)


def people(tts: SparkTTS, judges: Judges, folder: Path) -> Iterator[tuple[str, float]]:
    """Voices cloned from recordings of people: likeness to the clip itself, and to other readers."""
    assert judges.speaker is not None
    clips = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    known = {path: judges.speaker.embed(_read(path)) for path in clips}
    own, highest = [], -1.0
    for path in clips:
        voice = tts.clone(path)
        said = [
            judges.speaker.embed(np.asarray(tts.say(text, voice=voice, seed=1).samples)) for text in SENTENCES.values()
        ]
        likeness = {other: float(np.mean([cosine(one, known[other]) for one in said])) for other in clips}
        own.append(likeness[path])
        highest = max([highest, *(value for other, value in likeness.items() if _reader(other) != _reader(path))])
    yield "people: cosine to the clip, mean", float(np.mean(own))
    yield "people: cosine to the clip, lowest", min(own)
    yield "people: cosine to another reader, highest", highest


def speed(tts: SparkTTS) -> Iterator[tuple[str, float]]:
    """One utterance at a time, with a voice that is there; medians."""
    voice = tts.say("Hello.", style=Style(gender="female"), seed=1).voice
    assert isinstance(voice, Voice)
    factors, firsts = [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        audio = tts.say(SENTENCES["en"], voice=voice, seed=number)
        factors.append((time.perf_counter() - began) / audio.duration)
        began = time.perf_counter()
        with tts.stream(SENTENCES["en"], voice=voice, seed=number) as stream:
            next(iter(stream))
            firsts.append(time.perf_counter() - began)
    yield "speed: real-time factor", statistics.median(factors)
    yield "speed: seconds to the first audio", statistics.median(firsts)


def _of_prompts(lists: Sequence[EvaluationList]) -> EvaluationList:
    """The prompts themselves as a list of what is said in them."""
    prompts = {item.prompt_audio: item.prompt_text for one in lists for item in one.items}
    items = [Item(path.stem, text, text, path) for path, text in prompts.items() if path is not None and text]
    return EvaluationList("prompts", lists[0].sha256, tuple(items))


def _told(figures: Figures) -> Iterator[tuple[str, float]]:
    for metric, summary in figures.errors.items():
        if metric in (main_metric(figures.errors), "cer"):
            yield f"{metric}, mean of the texts", summary.mean
            yield f"{metric}, all words together", summary.corpus
    if figures.mean_mos is not None:
        yield "MOS", figures.mean_mos
    if figures.mean_similarity is not None:
        yield "cosine to the prompt", figures.mean_similarity
    if figures.real_time_factor is not None:
        yield "real-time factor", figures.real_time_factor


def _read(path: Path) -> Samples:
    return read_audio(path, SAMPLE_RATE)


def _reader(path: Path) -> str:
    return re.sub(r"[-_]\w?\d+$", "", path.stem)


if __name__ == "__main__":
    main()
