"""sparktts prepare: recordings and transcripts to shards for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import OptionError
from . import options
from .console import Bar, note, progress_bar, result_json

if TYPE_CHECKING:
    from ..data.hearing import FeatureSource
    from ..data.tokens import CodecSource

_CLIPS, _WORK = "Clips", "Work"


def prepare(
    source: Annotated[
        Path,
        options.argument("MANIFEST|DIR", "A .jsonl, .csv or .tar, a folder with one; with --codec a prepared folder."),
    ],
    output: Annotated[
        Path | None,
        options.option(
            options.OUTPUT, "--output -o", "DIR", "Folder for the shards. Needed, unless the first argument is one."
        ),
    ] = None,
    codec: Annotated[
        str | None,
        options.option(
            options.MODEL, "--codec", "DIR|REPO", "Add the tokens of this model's codec. Default: no tokens."
        ),
    ] = None,
    language: Annotated[
        str | None,
        options.option(_CLIPS, "--language", "NAME", "Language of every clip. Default: as listed, or by the letters."),
    ] = None,
    speaker: Annotated[
        str | None,
        options.option(
            _CLIPS, "--speaker", "NAME", "Speaker of every clip. Default: as listed, or each clip another one."
        ),
    ] = None,
    min_seconds: Annotated[
        float, options.option(_CLIPS, "--min-seconds", "S", "Leave out clips with less sound, in seconds.")
    ] = 0.5,
    max_seconds: Annotated[
        float, options.option(_CLIPS, "--max-seconds", "S", "Leave out longer clips, in seconds, at most 600.")
    ] = 30.0,
    speed_outliers: Annotated[
        float,
        options.option(
            _CLIPS, "--speed-outliers", "Z", "Leave out clips whose pace is this far from the corpus; 0: none."
        ),
    ] = 5.0,
    guess_gender: Annotated[
        bool,
        options.option(_CLIPS, "--guess-gender", None, "Guess missing genders from the pitch. Default: unknown."),
    ] = False,
    phonemes: Annotated[
        bool,
        options.option(_CLIPS, "--phonemes", None, "Add phonemes where the list has none. Default: only listed ones."),
    ] = False,
    aligner: Annotated[
        Path | None,
        options.option(
            options.MODEL, "--aligner", "DIR", "Add the time of each word, by this aligner. Default: no times."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        options.option(
            options.MODEL,
            "--features",
            "DIR|FILE",
            "Hear clips through this model, wav2vec2 or Whisper. Default: that of --codec or --aligner.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        options.option(
            options.MODEL, "--layers", "N,N", "Layers of --features that are averaged. Default: as the model says."
        ),
    ] = None,
    features_cache: Annotated[
        Path | None,
        options.option(
            options.MODEL,
            "--features-cache",
            "DIR",
            "Folder with features of a training, used again here. Default: nothing is kept.",
        ),
    ] = None,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    workers: Annotated[
        int | None,
        options.option(_WORK, "--workers", "N", "Processes. Default: all cores but one; without --output one."),
    ] = None,
    shard_clips: Annotated[int, options.option(_WORK, "--shard-clips", "N", "Clips in one shard, 1 to 100000.")] = 500,
    force: Annotated[
        bool,
        options.option(
            _WORK, "--force", None, "Replace what was prepared with other options or another codec. Default: refuse."
        ),
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check, measure and pack recordings for training; what is finished is kept, so run it again to go on.

    sparktts prepare recordings/metadata.csv -o prepared --speaker me

    sparktts prepare prepared --codec pretrained_models/Spark-TTS-0.5B
    """
    from ..data.build import prepare as build
    from ..data.hearing import FeatureSource
    from ..data.prepare import PrepareOptions
    from ..data.summary import write_summary

    settings = PrepareOptions(min_seconds, max_seconds, speed_outliers, guess_gender, phonemes)
    if output is None and codec is None and aligner is None:
        raise OptionError("Name the folder for the shards: --output DIR.")
    if aligner is None and codec is None and (features or layers or features_cache):
        raise OptionError("--features, --layers and --features-cache need --aligner DIR or --codec DIR.")
    if features is None and (layers or features_cache):
        raise OptionError("--layers and --features-cache belong to a model: name it by --features.")
    out = output or source
    heard = None if features is None else FeatureSource(str(features), _layers(layers), _text(features_cache))
    model = None if codec is None else _codec(codec, engine, device, heard)
    try:
        with progress_bar(quiet) as bar:
            watcher = _Watcher(bar, quiet)
            if output is not None:
                build(
                    source,
                    out,
                    settings,
                    language=language,
                    speaker=speaker,
                    workers=workers,
                    shard_clips=shard_clips,
                    force=force,
                    watcher=watcher,
                )
            later = 1 if output or not workers else workers
            if aligner is not None:
                from ..data.align import AlignerSource, add_word_times

                through = heard or FeatureSource(model.checkpoint if model else str(aligner))
                times = AlignerSource(str(aligner), through, device)
                add_word_times(out, times, workers=later, force=force, watcher=watcher)
            if model is not None:
                from ..data.tokens import add_tokens

                add_tokens(out, model, workers=later, force=force, watcher=watcher)
            bar.phase("Drawing")
            found = write_summary(out)
    except KeyboardInterrupt:
        note("What is finished is kept; run the same command again to go on.")
        raise
    if json:
        result_json(found, indent=2)
    if not quiet:
        note(_told(out, found))


@dataclass
class _Watcher:
    """Shows what goes on; implements data.build.Watcher."""

    bar: Bar
    quiet: bool

    def note(self, sentence: str) -> None:
        if self.quiet:
            return
        if self.bar.progress is None:
            note(sentence)
        else:
            self.bar.progress.console.print(sentence, markup=False, highlight=False)

    def progress(self, phase: str, done: int, total: int, left: float | None) -> None:
        from ..data.build import duration

        if self.bar.progress is None:
            return
        more = "" if left is None or done == total else f", about {duration(left)} left"
        task = self.bar.progress.task_ids[0]
        self.bar.progress.update(task, description=phase, completed=done, total=total, count=f"{done}/{total}{more}")


def _codec(name: str, engine: str, device: str, features: FeatureSource | None) -> CodecSource:
    """The codec of a model directory or a downloaded model. Raises CheckpointError."""
    from ..checkpoint.download import resolve
    from ..data.tokens import CodecSource

    return CodecSource(str(resolve(name)), engine, device, features)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _layers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise OptionError(f"--layers is '{text}'; give numbers with commas between them, such as 11,14,16.") from None


def _told(out: Path, found: dict[str, Any]) -> str:
    rejected = sum(found["rejected"].values())
    why = ", ".join(f"{count} {name}" for name, count in found["rejected"].items())
    left_out = f"; {rejected} left out ({why}), see {out / 'rejected.jsonl'}" if rejected else ""
    odd = "".join(f"; {count} {name}" for name, count in found["flags"].items())
    return f"{found['clips']} clips, {found['hours']:.2f} h in {out}{left_out}{odd}. Pictures: {out / 'summary.html'}"
