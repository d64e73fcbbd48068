"""sparktts say: speech from text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from . import options
from .console import note, progress_bar, result_json
from .speaking import ModelOptions, Speaker, Wish, record, summary
from .targets import STDOUT, AudioTarget, VoiceTarget, check_file, write_text
from .texts import STDIN, arriving_text, given_text

if TYPE_CHECKING:
    from ..longform import ReadingOptions
    from ..report import Report
    from ..sampling import SamplingOptions
    from ..streaming import Mode
    from ..text import TextOptions
    from ..types import Language

TARGET_SECONDS = 8.0
LANGUAGES: dict[str, Language | None] = {"auto": None, "zh": "zh", "en": "en"}


def say(
    text: options.Text = None,
    file: options.TextFile = None,
    batch: options.Batch = None,
    voice: options.Voice = None,
    transcript: options.Transcript = None,
    gender: options.Gender = None,
    pitch: options.Pitch = None,
    speed: options.Speed = None,
    keep_voice: options.KeepVoice = None,
    output: options.SayOutput = None,
    format: options.Format = None,
    subtitles: options.Subtitles = None,
    model: options.Model = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = 50,
    top_p: options.TopP = 0.95,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    no_checks: options.NoChecks = False,
    retries: options.Retries = 2,
    takes: options.Takes = None,
    batch_size: options.BatchSize = 1,
    no_normalize: options.NoNormalize = False,
    language: options.Language = "auto",
    lexicon: options.Lexicon = None,
    max_seconds: options.MaxSeconds = 12.0,
    target_seconds: options.TargetSeconds = None,
    pauses: options.Pauses = 1.0,
    stream: options.Stream = False,
    play: options.Play = False,
    exact: options.Exact = False,
    look_ahead: options.LookAhead = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say a text in a kept, cloned or new voice.

    sparktts say "Hello." -o hello.wav

    sparktts say "Hello." --voice me.m4a -o hello.mp3

    sparktts say "Hello." --gender male --pitch low --keep-voice tom

    sparktts say --file book.txt --voice tom -o book.opus

    sparktts say --file book.txt --voice tom --stream -o - | ffplay -
    """
    wish = Wish(voice, transcript, gender, pitch, speed, seed)
    wish.check()
    models = ModelOptions(model, engine, device, dtype)
    settings = (
        _text_options(no_normalize, language, lexicon, target_seconds, max_seconds, pauses),
        _reading_options(not no_checks, retries, batch_size, takes),
        _sampling_options(temperature, top_k, top_p, repetition_penalty, seed),
    )
    if (exact or look_ahead is not None) and not (stream or play):
        raise OptionError("--exact and --look-ahead say how to stream: add --stream or --play.")
    if batch is not None:
        from .batch import say_all

        if text is not None or file is not None or keep_voice is not None or subtitles is not None:
            raise OptionError(
                "--batch takes its texts from the list: leave out TEXT, --file, --keep-voice and --subtitles."
            )
        if stream or play:
            raise OptionError("--batch writes whole files: leave out --stream and --play.")
        if output is None:
            raise OptionError("--batch writes many files: name a folder for them with -o.")
        say_all(batch, output, format, wish, lambda: Speaker(models.load(), *settings), json=json, quiet=quiet)
        return
    keep = None if keep_voice is None else VoiceTarget(keep_voice)
    if subtitles is not None:
        check_file(subtitles, OptionError)
    if stream or play:
        from .streams import Sinks, say_live

        sinks = Sinks.parse(output, format, stream, play)
        live = arriving_text() if text == STDIN and file is None else given_text(text, file)
        mode: Mode = "exact" if exact else "low-latency"
        report = say_live(
            live, wish, sinks, keep, lambda: Speaker(models.load(), *settings), mode, look_ahead, json, quiet
        )
        _write_subtitles(subtitles, report)
        return
    target = AudioTarget.parse("speech.wav" if output is None else output, format)
    said = given_text(text, file)
    _write_subtitles(subtitles, _say_one(said, wish, target, keep, models, settings, json, quiet))


def _say_one(
    text: str,
    wish: Wish,
    target: AudioTarget,
    keep: VoiceTarget | None,
    models: ModelOptions,
    settings: tuple[TextOptions, ReadingOptions, SamplingOptions],
    json: bool,
    quiet: bool,
) -> Report:
    from ..library import VoiceLibrary

    if keep is not None:
        keep.check(VoiceLibrary())
    with progress_bar(quiet) as bar:
        speaker = Speaker(models.load(), *settings)
        audio = speaker.say(text, wish, bar)
    target.write(audio)
    kept = None
    if keep is not None and audio.voice is not None:
        kept = str(keep.save(speaker.tts.voices, audio.voice))
    if json:
        result_json(record(audio, output=target.name, kept_voice=kept), sys.stderr if target.name == STDOUT else None)
    elif not quiet:
        for line in summary(audio, target.name):
            note(line)
        if keep is not None:
            note(f"Kept the voice: speak with it again by --voice {keep.text}")
    assert audio.report is not None
    return audio.report


def _write_subtitles(path: Path | None, report: Report) -> None:
    from ..subtitles import to_srt

    if path is not None:
        write_text(str(path), to_srt(report.utterances))


def _text_options(
    no_normalize: bool, language: str, lexicon: Path | None, target: float | None, maximum: float, pauses: float
) -> TextOptions:
    from ..text import TextOptions, load_lexicon

    if language not in LANGUAGES:
        raise OptionError(f"{language!r} is not a language: use {', '.join(LANGUAGES)}.")
    return TextOptions(
        normalize=not no_normalize,
        language=LANGUAGES[language],
        lexicon={} if lexicon is None else load_lexicon(lexicon),
        target_seconds=min(TARGET_SECONDS, maximum) if target is None else target,
        max_seconds=maximum,
        pauses=pauses,
    )


def _reading_options(checks: bool, retries: int, batch_size: int, takes: int | None) -> ReadingOptions:
    from ..longform import ReadingOptions

    return ReadingOptions(checks=checks, retries=retries, batch_size=batch_size, takes=takes)


def _sampling_options(
    temperature: float | None, top_k: int, top_p: float, repetition_penalty: float, seed: int | None
) -> SamplingOptions:
    from ..sampling import SamplingOptions

    return SamplingOptions(temperature, top_k, top_p, repetition_penalty, seed)
