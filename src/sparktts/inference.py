"""The published command line: `python -m sparktts.inference --text ... --prompt_speech_path ...`."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from .cli.published import Parser, published_device
from .cli.run import guarded
from .cli.speaking import ModelOptions, Wish, chosen_voice, summary
from .cli.texts import checked
from .errors import OptionError


def main(argv: Sequence[str] | None = None) -> int:
    """Speaks one text into SAVE_DIR/<timestamp>.wav and returns the exit code."""
    return guarded(lambda: _speak(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sparktts.inference",
        description="Say a text in a cloned or created voice. `sparktts say` does more.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--text", required=True, help="what to say")
    add("--model_dir", default="pretrained_models/Spark-TTS-0.5B", help="model directory (%(default)s)")
    add("--save_dir", default="example/results", help="folder for the sound, made if missing (%(default)s)")
    add("--device", default="0", help="number of the GPU, or cpu, cuda:N, mps, npu (%(default)s)")
    add("--prompt_speech_path", help="recording whose voice speaks")
    add("--prompt_text", help="the words of that recording (none)")
    add("--gender", help="female or male: create a voice; then the recording is ignored (none)")
    add("--pitch", help="very_low, low, moderate, high, very_high, or Hz (the voice's own)")
    add("--speed", help="the same levels, or syllables per second (the voice's own)")
    add(
        "--no_checks",
        action="store_true",
        help="keep whatever the model says (failed sentences are tried again)",
    )
    return parser


def _speak(arguments: Namespace) -> None:
    from .longform import ReadingOptions
    from .text import prepare

    cloning = arguments.gender is None
    if cloning and arguments.prompt_speech_path is None:
        raise OptionError("Nobody speaks: give a recording with --prompt_speech_path, or a --gender.")
    wish = Wish(
        voice=arguments.prompt_speech_path if cloning else None,
        transcript=(arguments.prompt_text or None) if cloning else None,
        gender=arguments.gender,
        pitch=arguments.pitch,
        speed=arguments.speed,
    )
    wish.check()
    text = checked(arguments.text, "The text")
    prepare(text)
    tts = ModelOptions(arguments.model_dir, "auto", published_device(arguments.device)).load()
    voice = None if wish.voice is None else chosen_voice(tts, wish.voice, wish.transcript)
    reading = ReadingOptions(checks=not arguments.no_checks)
    folder = Path(arguments.save_dir)
    folder.mkdir(parents=True, exist_ok=True)
    audio = tts.say(text, voice=voice, style=wish.style, reading=reading)
    path = _fresh(folder)
    audio.save(path)
    print(path)
    for line in summary(audio, str(path)):
        print(line, file=sys.stderr)


def _fresh(folder: Path) -> Path:
    """FOLDER/<timestamp>.wav, numbered where two runs share a second."""
    stamp = time.strftime("%Y%m%d%H%M%S")
    path, number = folder / f"{stamp}.wav", 0
    while path.exists():
        number += 1
        path = folder / f"{stamp}-{number}.wav"
    return path


if __name__ == "__main__":
    sys.exit(main())
