"""Judges by name: those that come with this package, and anybody's own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import OptionError
from .base import Judges, MosPredictor, PhonemeListener, Recogniser, SpeakerEncoder
from .packages import JudgeMissing, PackageFiles

Kind = Literal["recogniser", "speaker", "mos", "phonemes"]
Factory = Callable[[str, PackageFiles], Any]
PROTOCOLS: dict[Kind, type] = {
    "recogniser": Recogniser,
    "speaker": SpeakerEncoder,
    "mos": MosPredictor,
    "phonemes": PhonemeListener,
}
DEFAULTS: dict[Kind, tuple[str, ...]] = {
    "recogniser": ("whisper-base",),
    "speaker": ("campplus", "ge2e"),
    "mos": ("distillmos", "dnsmos"),
    "phonemes": (),
}
COLUMNS: dict[Kind, str] = {"recogniser": "errors", "speaker": "similarity", "mos": "MOS"}
NONE = "none"


@dataclass(frozen=True)
class _Shipped:
    """A judge of this package, imported when asked for. argument: what follows its name's colon, "" for nothing."""

    module: str
    attribute: str
    argument: str = ""

    def __call__(self, argument: str, packages: PackageFiles) -> Any:
        factory = getattr(importlib.import_module(f"{__package__}.{self.module}"), self.attribute)
        if bool(argument) != bool(self.argument):
            raise OptionError(f"This judge takes {self.argument or 'nothing'} after its name.")
        return factory(argument, packages) if argument else factory(packages)


@dataclass
class _Registry:
    factories: dict[Kind, dict[str, Factory]] = field(
        default_factory=lambda: {
            "recogniser": {
                "whisper-base": _Shipped("whisper_base", "whisper_base"),
                "whisper": _Shipped("transformers_whisper", "TransformersWhisper", "a directory or hub name"),
                "ctranslate2": _Shipped("faster_whisper", "from_directory", "a directory"),
            },
            "speaker": {
                "campplus": _Shipped("campplus", "CamPlusPlus"),
                "ge2e": _Shipped("ge2e", "GE2E"),
                "xvector": _Shipped("xvector", "XVector", "a directory or hub name"),
            },
            "mos": {
                "distillmos": _Shipped("distillmos", "DistillMOS"),
                "dnsmos": _Shipped("dnsmos", "DNSMOS"),
            },
            "phonemes": {"aligner": _Shipped("aligner", "of_model", "a model with an aligner")},
        }
    )


_registry = _Registry()


def register(kind: Kind, name: str, factory: Factory) -> None:
    """Adds a judge of one's own, which options then call NAME or NAME:ARGUMENT.

    factory: called with the argument ("" for none) and the files of installed packages; returns the judge.
    """
    _registry.factories[kind][name] = factory


def names(kind: Kind) -> tuple[str, ...]:
    """The names that can be asked for."""
    return tuple(_registry.factories[kind])


def open_judge(kind: Kind, spec: str, packages: PackageFiles) -> Any:
    """The judge of a name: NAME, NAME:ARGUMENT, or python:MODULE:ATTRIBUTE (a class or function without arguments).

    Raises JudgeMissing where its package or weights are missing, OptionError for an unknown name.
    """
    name, _, argument = spec.partition(":")
    if name == "python":
        judge = _imported(argument)
    elif name in _registry.factories[kind]:
        try:
            judge = _registry.factories[kind][name](argument, packages)
        except JudgeMissing as error:
            raise JudgeMissing(f"The judge {spec} cannot be used: {error}") from None
    else:
        known = ", ".join((*names(kind), "python:MODULE:NAME", NONE))
        raise OptionError(f"{spec!r} is not a {_words(kind)}: use {known}.")
    if not isinstance(judge, PROTOCOLS[kind]):
        raise OptionError(f"{spec!r} is no {_words(kind)}: it lacks a method or a name (see docs/eval.md).")
    return judge


def open_judges(
    recogniser: str | None = None,
    speaker: str | None = None,
    mos: str | None = None,
    directory: str | os.PathLike[str] | None = None,
    phonemes: str | None = None,
) -> Judges:
    """The judges by name; None: the first default that is installed, else none and a note; "none": no such judge.

    directory: where judges' packages are installed, beside this environment's own; None: SPARKTTS_JUDGES.
    Raises OptionError for a judge that was asked for and is not there.
    """
    packages = PackageFiles.beside(directory or os.environ.get("SPARKTTS_JUDGES") or None)
    notes: list[str] = []
    found = {
        kind: _open(kind, spec, packages, notes)
        for kind, spec in (("recogniser", recogniser), ("speaker", speaker), ("mos", mos), ("phonemes", phonemes))
    }
    return Judges(found["recogniser"], found["speaker"], found["mos"], found["phonemes"], tuple(notes))


def _open(kind: Any, spec: str | None, packages: PackageFiles, notes: list[str]) -> Any:
    if spec == NONE or (spec is None and not DEFAULTS[kind]):
        return None
    if spec is not None:
        return open_judge(kind, spec, packages)
    reasons = []
    for name in DEFAULTS[kind]:
        try:
            return open_judge(kind, name, packages)
        except JudgeMissing as error:
            reasons.append(str(error))
    notes.append(f"There is no column of {COLUMNS[kind]}. {reasons[0]}")
    return None


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"The judge python:{path} cannot be imported ({error}): check module and name.") from None
    return factory()


def _words(kind: Kind) -> str:
    words = {"speaker": "speaker encoder", "mos": "MOS predictor", "phonemes": "phoneme listener"}
    return words.get(kind, kind)
