"""sparktts eval: how well a model, or a folder of recordings, says a list of texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import OptionError
from . import options
from .console import note, progress_bar, result_json, table
from .speaking import ModelOptions, Wish

if TYPE_CHECKING:
    from ..evaluate.lists import EvaluationList
    from ..evaluate.systems import Recordings, Synthesis
    from ..types import Reference

EVALUATION, JUDGES = "Evaluation", "Judges"

Lists = Annotated[
    list[Path],
    options.argument("LIST...", "Lists of texts: a line each, id|prompt text|prompt audio|text or id|text. Needed."),
]
Wavs = Annotated[
    list[str] | None,
    options.option(
        EVALUATION,
        "--wavs",
        "[NAME=]DIR",
        "Evaluate recordings named ID.wav (or flac, ogg, opus, mp3, m4a), of any system; may be given several times. "
        "Default: a model speaks.",
    ),
]
Name = Annotated[
    str | None,
    options.option(EVALUATION, "--name", "NAME", "What reports call the model. Default: its directory's name."),
]
Limit = Annotated[
    int | None,
    options.option(EVALUATION, "--limit", "N", "Only the first N texts of each list. Default: all."),
]
Transcripts = Annotated[
    bool,
    options.option(
        options.VOICE, "--transcripts", None, "Clone with the prompts' texts too. Default: with their sound alone."
    ),
]
Seed = Annotated[
    int, options.option(options.SPEAKING, "--seed", "N", "The same number gives the same speech. Default: 0.")
]
Asr = Annotated[
    str | None,
    options.option(
        JUDGES,
        "--asr",
        "NAME",
        "Recogniser: whisper-base, whisper:DIR|REPO, ctranslate2:DIR, python:MODULE:NAME or none. "
        "Default: whisper-base if installed.",
    ),
]
SpeakerEncoder = Annotated[
    str | None,
    options.option(
        JUDGES,
        "--speaker",
        "NAME",
        "Speaker encoder: campplus, ge2e, xvector:DIR|REPO, python:MODULE:NAME or none. "
        "Default: the first that is installed.",
    ),
]
Mos = Annotated[
    str | None,
    options.option(
        JUDGES,
        "--mos",
        "NAME",
        "Predictor of quality: distillmos, dnsmos, python:MODULE:NAME or none. Default: the first that is installed.",
    ),
]
Phonemes = Annotated[
    str | None,
    options.option(
        JUDGES,
        "--phonemes",
        "NAME",
        "Phoneme errors: aligner:DIR (a model with an aligner), python:MODULE:NAME or none. Default: none.",
    ),
]
JudgesDirectory = Annotated[
    str | None,
    options.option(
        JUDGES, "--judges", "DIR", "Where judges' packages are installed. Default: SPARKTTS_JUDGES, or beside sparktts."
    ),
]
Output = Annotated[
    Path,
    options.option(
        options.OUTPUT, "--output -o", "DIR", "Folder for results, reports and sounds. Needed.", show_default=False
    ),
]


def evaluate(
    lists: Lists,
    output: Output,
    wavs: Wavs = None,
    name: Name = None,
    limit: Limit = None,
    voice: options.Voice = None,
    gender: options.Gender = None,
    pitch: options.Pitch = None,
    speed: options.Speed = None,
    transcripts: Transcripts = False,
    reference: options.Reference = "whole",
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    seed: Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = 50,
    top_p: options.TopP = 0.95,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    no_checks: options.NoChecks = False,
    retries: options.Retries = 2,
    takes: options.Takes = None,
    asr: Asr = None,
    phonemes: Phonemes = None,
    speaker: SpeakerEncoder = None,
    mos: Mos = None,
    judges: JudgesDirectory = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say a list of texts and have it judged: recognition errors, likeness of the voice, quality, speed.

    The same command goes on where it was stopped.

    sparktts eval en.lst zh.lst -o results

    sparktts eval en.lst -o results --wavs mine=wavs --wavs other=their-wavs
    """
    from ..evaluate import run
    from ..evaluate.judges import open_judges
    from ..evaluate.report import write_reports

    read = _lists(lists, limit)
    recordings = [_recordings(value, read) for value in wavs or ()]
    wish = Wish(voice=voice, gender=gender, pitch=pitch, speed=speed, seed=seed)
    rule: Any = reference
    _check(wish, bool(recordings) and model is None, transcripts, name, reference)
    run.check_output(output)
    opened = open_judges(asr, speaker, mos, judges, phonemes)
    if not quiet:
        for line in opened.notes:
            note(f"Note: {line}")
    systems: list[Recordings | Synthesis] = [*recordings]
    if model is not None or not recordings:
        from ..evaluate.systems import Synthesis
        from ..longform import ReadingOptions
        from ..sampling import SamplingOptions

        sampling = SamplingOptions(temperature, top_k, top_p, repetition_penalty)
        reading = ReadingOptions(checks=not no_checks, retries=retries, takes=takes)
        tts = ModelOptions(model, engine, device, dtype).load()
        systems.insert(
            0, Synthesis(tts, _speech(wish, transcripts, rule), sampling, reading, name or tts.checkpoint.name)
        )
    with progress_bar(quiet) as bar:
        evaluation = run.evaluate(read, systems, opened, output, progress=bar.counting)
    write_reports(evaluation, output)
    if json:
        result_json(evaluation.to_dict())
    elif not quiet:
        from ..evaluate.tables import header, row

        table(header(evaluation), [row(evaluation, figures) for figures in evaluation.figures()])
        if evaluation.failures:
            note(f"Note: {evaluation.failures} of {len(evaluation.results)} failed; the report says why.")
        if evaluation.reused:
            note(f"{evaluation.reused} of {len(evaluation.results)} were there from an earlier run.")
        note(f"Report: {output / 'report.html'}")


def _lists(paths: list[Path], limit: int | None) -> tuple[EvaluationList, ...]:
    from dataclasses import replace

    from ..evaluate.lists import read_lists

    if limit is not None and limit < 1:
        raise OptionError(f"The limit must be 1 or more, not {limit}.")
    return tuple(replace(one, items=one.items[:limit]) for one in read_lists(paths))


def _recordings(value: str, lists: tuple[EvaluationList, ...]) -> Recordings:
    from ..evaluate.systems import Recordings

    name, equals, folder = value.partition("=")
    if not equals or os.sep in name:
        name, folder = Path(value).resolve().name, value
    found = Recordings(name, Path(folder))
    found.check([item for one in lists for item in one.items])
    return found


def _check(wish: Wish, recordings_alone: bool, transcripts: bool, name: str | None, reference: str) -> None:
    """Raises OptionError for options that make no sense, or none together."""
    if recordings_alone:
        given = [wish.voice, wish.gender, wish.pitch, wish.speed, name, transcripts or None]
        if any(value is not None for value in given):
            raise OptionError("Voice, style, --transcripts and --name are for a model: give one with --model.")
    if wish.voice is not None and (wish.gender is not None or transcripts):
        raise OptionError("--voice is the voice of all texts: leave out --gender and --transcripts.")
    if wish.gender is not None and transcripts:
        raise OptionError("--transcripts clones the prompts: leave out --gender.")
    if reference not in ("whole", "first-6s"):
        raise OptionError(f"{reference!r} is not a rule for clips: use whole or first-6s.")
    _ = wish.style
    if not 0 <= (wish.seed or 0) < 1 << 32:
        raise OptionError(f"A seed is a whole number from 0 to {(1 << 32) - 1}, not {wish.seed}.")


def _speech(wish: Wish, transcripts: bool, rule: Reference) -> Any:
    from ..evaluate.systems import SpeechOptions

    return SpeechOptions(wish.voice, wish.style, transcripts, rule, wish.seed or 0)
