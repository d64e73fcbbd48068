"""An evaluation: every item of every list by every system, judged once, and what has been done is not done again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ..audio.samples import Samples
from ..errors import AudioError, GenerationError, InvalidTokens, OptionError, TextError
from ..types import Language
from .judges.base import SAMPLE_RATE, Embedding, Judges, cosine
from .lists import EvaluationList, Item
from .metrics import Errors, Metric, count_errors, text_errors
from .results import Result, ResultFile, Scores
from .summary import Evaluation
from .systems import Synthesis, System, Take, copy, file_hash, fingerprint, folder_of

SCORING = 1  # changes when the same sound would get other scores
PROMPTS = "prompts"
OF_ONE_ITEM = (AudioError, GenerationError, InvalidTokens, TextError)  # other errors would meet every item
LIBRARIES = ("torch", "transformers", "numpy", "onnxruntime", "wetext", "pypinyin", "rapidfuzz", "soxr", "av")
Progress = Callable[[str, int, int], None]


def evaluate(
    lists: Sequence[EvaluationList],
    systems: Sequence[System],
    judges: Judges,
    out: Path,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates and returns the summary; results.jsonl and audio/ below `out` hold what has been done at any time.

    out: a folder, made if its parent is there. progress: called with (system, results done, in all).
    An item that fails is a result. Raises OptionError for what concerns all items, and OSError.
    """
    _check(lists, systems, out)
    out.mkdir(exist_ok=True)
    run = _Run(judges, out)
    results: list[Result] = []
    items = [(one.name, item) for one in lists for item in one.items]
    for system in systems:
        for name, item in items:
            if progress is not None:
                progress(system.name, len(results), len(items) * len(systems))
            results.append(run.result(system, name, item))
    run.file.finish(results)
    return Evaluation(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        lists={one.name: {"sha256": one.sha256, "items": len(one.items)} for one in lists},
        systems={system.name: system.facts for system in systems},
        judges=judges.names,
        versions=versions(),
        notes=judges.notes,
        results=tuple(results),
        reused=run.reused,
    )


def versions() -> dict[str, str]:
    """This package's version, and those of what it computes with, as far as they are installed."""
    from .. import __version__

    found = {"sparktts": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass
class _Run:
    """One evaluation while it goes on. reused: how many results were there already."""

    judges: Judges
    out: Path
    reused: int = 0
    file: ResultFile = field(init=False)
    _voices: dict[Path, Embedding] = field(default_factory=dict)
    _prompts: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.file = ResultFile(self.out)

    def result(self, system: System, list_name: str, item: Item) -> Result:
        """Of an earlier run where nothing has changed; with its sound judged again, or all made anew, where it has."""
        before = self.file.get(system.name, item)
        keys = self._keys(system, item)
        empty = Result(system.name, item.id, list_name, item.language, item.text, *keys, None, None, Scores())
        if before is not None and before.error is None and before.take_key == keys[0] and self._there(before):
            if before.judge_key == keys[1]:
                self.reused += 1
                return replace(before, list=list_name)
            take: Take | None = before.take
        else:
            take = None
        result = self._made(system, item, empty, take)
        self.file.add(result)
        return result

    def _keys(self, system: System, item: Item) -> tuple[str, str]:
        reference = system.reference(item)
        judged_by = (SCORING, self.judges.names, item.text, None if reference is None else file_hash(reference))
        return system.key(item), fingerprint(*judged_by)

    def _there(self, before: Result) -> bool:
        return before.take is not None and (self.out / before.take.audio).is_file()

    def _made(self, system: System, item: Item, empty: Result, take: Take | None) -> Result:
        try:
            reference = system.reference(item)
            prompt = None if reference is None else self._prompt(reference)
            empty = replace(empty, prompt=prompt)
            take = take or system.take(item, self.out)
            return replace(empty, take=take, scores=self._scores(item, take, reference))
        except OF_ONE_ITEM as error:
            return replace(empty, scores=self._nothing(item), error=" ".join(str(error).split()))

    def _scores(self, item: Item, take: Take, reference: Path | None) -> Scores:
        samples = _read(self.out / take.audio)
        heard = similarity = mos = None
        if self.judges.recogniser is not None:
            language: Language = "en" if item.language == "en" else "zh"
            heard = self.judges.recogniser.transcribe(samples, language)
        errors = self._errors(item, heard, samples)
        if self.judges.speaker is not None and reference is not None:
            similarity = round(cosine(self.judges.speaker.embed(samples), self._voice(reference)), 4)
        if self.judges.mos is not None:
            mos = round(float(self.judges.mos.score(samples)), 3)
        return Scores(heard, errors, similarity, mos)

    def _nothing(self, item: Item) -> Scores:
        """A text that was not said counts as a text of which nothing was heard."""
        heard = None if self.judges.recogniser is None else ""
        return Scores(heard, self._errors(item, heard, None))

    def _errors(self, item: Item, heard: str | None, samples: Samples | None) -> dict[Metric, Errors] | None:
        """By every judge that counts errors; samples None: nothing was said."""
        errors = {} if heard is None else text_errors(item.text, heard, item.language)
        if (listener := self.judges.phonemes) is not None:
            said = () if samples is None else listener.heard(samples)
            with suppress(TextError):  # a text without phonemes has no errors in them
                errors["phonemes"] = count_errors(listener.expected(item.text), said)
        return errors or None

    def _voice(self, reference: Path) -> Embedding:
        assert self.judges.speaker is not None
        if reference not in self._voices:
            self._voices[reference] = self.judges.speaker.embed(_read(reference))
        return self._voices[reference]

    def _prompt(self, reference: Path) -> str:
        """The prompt's copy for the report, under a name of its own."""
        if reference not in self._prompts:
            name = f"{reference.stem}-{file_hash(reference)[:8]}{reference.suffix.lower()}"
            target = folder_of(self.out, PROMPTS) / name
            if not target.exists():
                copy(reference, target)
            self._prompts[reference] = target.relative_to(self.out).as_posix()
        return self._prompts[reference]


def _check(lists: Sequence[EvaluationList], systems: Sequence[System], out: Path) -> None:
    names: set[str] = set()
    for system in systems:
        if system.name.casefold() in names:
            raise OptionError(f"Two systems are called {system.name}: name them with --wavs NAME=DIR or --name NAME.")
        if system.name == PROMPTS or not _is_file_name(system.name):
            raise OptionError(f"A system cannot be called {system.name!r}: use letters, digits, - and _.")
        names.add(system.name.casefold())
    if not systems:
        raise OptionError("There is nothing to evaluate: give a model or recordings.")
    for system in systems:
        if isinstance(system, Synthesis) and system.options.from_prompts:
            mute = next((i for one in lists for i in one.items if i.prompt_audio is None), None)
            if mute is not None:
                raise OptionError(f"The item {mute.id} has no prompt audio: give a voice with --voice or --gender.")
    check_output(out)


def check_output(out: Path) -> None:
    """Raises OptionError where no results can be written, before any work is done."""
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file: name a folder for the results.")
    if not out.parent.is_dir():
        raise OptionError(f"There is no folder {out.parent} to make {out.name} in: create it first.")


def _is_file_name(name: str) -> bool:
    return bool(name.strip(" .")) and name.isprintable() and not set(name) & set('/\\:*?"<>|')


def _read(path: Path) -> Samples:
    """Raises AudioError, also for sound that no judge could say anything about."""
    from ..audio.read import read_audio

    samples: Samples = read_audio(path, SAMPLE_RATE)
    if len(samples) < SAMPLE_RATE // 20:
        raise AudioError(f"{path.name} lasts less than 0.05 s.")
    return samples
