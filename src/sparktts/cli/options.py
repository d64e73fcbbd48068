"""Arguments and options of the commands: names, units, defaults, help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

VOICE, TEXT, MODEL, SPEAKING, OUTPUT = "Voice", "Text", "Model", "Speaking", "Output"
STREAMING = "While it is made"


def argument(metavar: str, help: str) -> Any:
    """A positional argument; its help says what leaving it out means."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def option(panel: str | None, names: str, metavar: str | None, help: str, show_default: bool = True) -> Any:
    """An option; its help says unit and, unless typer shows it, default. names: separated by spaces."""
    return typer.Option(*names.split(), metavar=metavar, help=help, rich_help_panel=panel, show_default=show_default)


# What is said
Text = Annotated[str | None, argument("TEXT|-", "What to say, in quotes; - reads standard input.")]
TextFile = Annotated[Path | None, option(TEXT, "--file -f", "FILE", "Read the text from a UTF-8 file. Default: TEXT.")]
Batch = Annotated[
    str | None,
    option(
        TEXT,
        "--batch",
        "LIST.jsonl",
        "Say many texts: a JSON object a line, with text and, if wanted, voice, transcript, gender, pitch, "
        "speed, seed, id or output. Files that are there already are skipped. Default: one text.",
    ),
]
NoNormalize = Annotated[
    bool,
    option(
        TEXT,
        "--no-normalize",
        None,
        "Leave numbers, dates and units as written. Default: they are read in words.",
    ),
]
Language = Annotated[
    str,
    option(TEXT, "--language", "NAME", "How numbers are read: auto (like the words around them), zh or en."),
]
Lexicon = Annotated[
    Path | None,
    option(TEXT, "--lexicon", "FILE", 'Your own readings, a line each: "word = replacement". Default: none.'),
]
MaxSeconds = Annotated[
    float,
    option(TEXT, "--max-seconds", "S", "Longest piece that is spoken in one go, in seconds, 1 to 60."),
]
TargetSeconds = Annotated[
    float | None,
    option(
        TEXT,
        "--target-seconds",
        "S",
        "Length of pieces to aim at, in seconds. Default: 8, or --max-seconds if that is less.",
    ),
]

Pauses = Annotated[float, option(TEXT, "--pauses", "X", "Longer or shorter pauses between sentences: times 0 to 5.")]

# Who says it
Voice = Annotated[
    str | None,
    option(
        VOICE,
        "--voice -v",
        "NAME|FILE.json|CLIP",
        "Who speaks: a kept voice or preset, a voice file, or a recording. Default: the model's own, or a new voice.",
    ),
]
Transcript = Annotated[
    str | None,
    option(
        VOICE,
        "--transcript",
        "WORDS",
        "The words of the clip (at most 15 s): its pace and melody are copied too. Default: the voice alone.",
    ),
]
Gender = Annotated[
    str | None, option(VOICE, "--gender", "female|male", "Create a voice. Default without --voice: female.")
]
Pitch = Annotated[
    str | None,
    option(
        VOICE,
        "--pitch",
        "LEVEL|HZ",
        "very_low, low, moderate, high, very_high, or the mean in Hz (50 to 1000). Default: the voice's own.",
    ),
]
Speed = Annotated[
    str | None,
    option(
        VOICE,
        "--speed",
        "LEVEL|RATE",
        "A level as for --pitch, or syllables per second (0.5 to 10). Default: the voice's own.",
    ),
]
KeepVoice = Annotated[
    str | None,
    option(VOICE, "--keep-voice", "NAME|FILE.json", "Keep the voice that spoke. Default: it is not kept."),
]
Reference = Annotated[
    str,
    option(
        VOICE,
        "--reference",
        "RULE",
        "What counts of the clip: whole (up to 60 s) or first-6s (the published rule).",
    ),
]
Consent = Annotated[
    str | None,
    option(
        VOICE,
        "--consent",
        "NOTE",
        "A note on the speaker's permission, kept with the voice. Default: none.",
    ),
]
KeepClip = Annotated[
    bool,
    option(
        VOICE,
        "--keep-clip",
        None,
        "Keep the recording in the voice, so that other models can use it. Default: tokens only.",
    ),
]
VoiceName = Annotated[str, argument("NAME", "Name of a kept voice.")]

# How it is said
Seed = Annotated[
    int | None,
    option(SPEAKING, "--seed", "N", "The same number gives the same speech. Default: a new one."),
]
Temperature = Annotated[
    float | None,
    option(
        SPEAKING,
        "--temperature",
        "X",
        "How freely the model chooses, 0 to 5; 0: not at all. Default: what the model was tuned for, else 0.8.",
    ),
]
TopK = Annotated[int, option(SPEAKING, "--top-k", "N", "Choose among the N likeliest tokens; 0: among all of them.")]
TopP = Annotated[
    float,
    option(SPEAKING, "--top-p", "X", "Choose among the likeliest tokens with this share of probability."),
]
RepetitionPenalty = Annotated[
    float,
    option(SPEAKING, "--repetition-penalty", "X", "Above 1: avoid tokens that came before; 0.5 to 5."),
]
NoChecks = Annotated[
    bool,
    option(
        SPEAKING,
        "--no-checks",
        None,
        "Keep whatever the model says. Default: sentences that fail are tried again.",
    ),
]
Retries = Annotated[int, option(SPEAKING, "--retries", "N", "How often a sentence that fails is tried again, 0 to 20.")]
Takes = Annotated[
    int | None,
    option(
        SPEAKING,
        "--takes",
        "N",
        "Say each sentence N times, 1 to 8, and keep what the model's own recogniser understands best. Default: what "
        "the model was tuned for, else 1; streams say it once.",
    ),
]
BatchSize = Annotated[
    int,
    option(
        SPEAKING,
        "--batch-size",
        "N",
        "Sentences at once, 1 to 256; above 1 is faster, but a seed no longer repeats to the last bit.",
    ),
]

# Speech while it is made
Stream = Annotated[
    bool,
    option(
        STREAMING,
        "--stream",
        None,
        "Write the sound while it is made; with TEXT - also read the text as it comes. Default: when all is said.",
    ),
]
Play = Annotated[
    bool, option(STREAMING, "--play", None, "Play the sound while it is made. Default: it is only written.")
]
Exact = Annotated[
    bool,
    option(
        STREAMING,
        "--exact",
        None,
        "Samples as without streaming, over a second later. Default: a short look-ahead.",
    ),
]
LookAhead = Annotated[
    int | None,
    option(
        STREAMING,
        "--look-ahead",
        "TOKENS",
        "Tokens of 20 ms that are waited for: more come later and are nearer to exact. Default: 16.",
    ),
]

# With what
Model = Annotated[
    str | None,
    option(
        MODEL,
        "--model -m",
        "DIR|REPO",
        "Model directory, or name of a downloaded one. Default: the environment's SPARKTTS_MODEL, else ember.",
    ),
]
ModelDirectory = Annotated[
    str | None,
    argument("[DIR]", "Model directory, or name of a downloaded one. Default: SPARKTTS_MODEL, else ember."),
]
Engine = Annotated[
    str,
    option(
        MODEL, "--engine", "NAME", "What computes: auto (onnx for exported models, else torch), onnx, torch, mindspore."
    ),
]
Device = Annotated[
    str,
    option(
        MODEL,
        "--device",
        "NAME",
        "Where: auto, cpu, cuda, cuda:N, mps, npu; with onnx cpu, cuda, coreml, dml, cann; with mindspore cpu, ascend.",
    ),
]
Dtype = Annotated[
    str,
    option(
        MODEL,
        "--dtype",
        "NAME",
        "Precision of the language model: auto (bf16 on cuda and npu, else fp32), fp32 or bf16.",
    ),
]

# Where it goes
SayOutput = Annotated[
    str | None,
    option(
        OUTPUT,
        "--output -o",
        "FILE|-",
        "Sound file: .wav, .flac, .mp3, .opus, .ogg, .aac or .pcm; - writes to stdout; with --batch a folder. "
        "Default: speech.wav.",
    ),
]
SoundOutput = Annotated[
    str,
    option(
        OUTPUT,
        "--output -o",
        "FILE|-",
        "Sound file: .wav, .flac, .mp3, .opus, .ogg, .aac or .pcm; - writes to stdout.",
    ),
]
Format = Annotated[
    str | None,
    option(
        OUTPUT,
        "--format",
        "NAME",
        "wav, flac, mp3, opus, ogg, aac or pcm. Default: the suffix of -o; wav for stdout and --batch.",
    ),
]
Subtitles = Annotated[
    Path | None,
    option(OUTPUT, "--subtitles", "FILE.srt", "Also write when each sentence is said, as subtitles. Default: none."),
]
VoiceOutput = Annotated[
    str,
    option(
        OUTPUT,
        "--output -o",
        "NAME|FILE.json",
        "Name in the voice library, or a voice file. Needed.",
        show_default=False,
    ),
]
TokenOutput = Annotated[str, option(OUTPUT, "--output -o", "TOKENS.json|-", "Token file; - writes to stdout.")]
DirectoryOutput = Annotated[Path, option(OUTPUT, "--output -o", "DIR", "New directory. Needed.", show_default=False)]
DownloadOutput = Annotated[
    Path | None, option(OUTPUT, "--output -o", "DIR", "Where to. Default: the user's data folder.")
]
Json = Annotated[bool, option(OUTPUT, "--json", None, "Print JSON on stdout. Default: sentences for people.")]
Quiet = Annotated[bool, option(OUTPUT, "--quiet -q", None, "Print errors only. Default: progress, a summary, notes.")]
Force = Annotated[bool, option(OUTPUT, "--force", None, "Replace a voice of that name. Default: refuse.")]

# Of every training.
Settings = Annotated[
    list[str] | None,
    option(None, "--set", "KEY=VALUE", "Changes a setting, such as run.steps=100. Default: as in the file."),
]
