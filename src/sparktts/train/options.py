"""Configurations of trainings: a yaml file as frozen dataclasses.

    @dataclass(frozen=True)
    class ToyOptions:
        run: RunOptions                     # no default: the file must say it
        layers: int = bounded(6, low=1)
        rates: tuple[int, ...] = (8, 5)

    options = read_options(Path("toy.yaml"), ToyOptions, ["run.steps=10"])

Understood types: bool, int, float, str, Path, Literal, X | None, other unions, tuple[X, ...], dict[str, X] and
dataclasses, nested as deep as one likes. A ValueError of a dataclass's __post_init__ becomes an error of its section.
Every error is one OptionError sentence with file, dotted key and what is allowed. Paths are relative to the
working directory.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ..errors import OptionError

Options = TypeVar("Options")


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What all trainings share: where, how long, on what, how often. Section `run` of a training's file.

    out: directory of the run; a run that is there goes on. steps: optimiser steps in all. devices: processes, one GPU
    or CPU process each. *_every: in steps. max_minutes: stop cleanly after so long. keep: newest checkpoints kept
    beside the best. threads: of each process on CPUs, null as PyTorch chooses.
    """

    out: Path
    steps: int
    precision: Literal["fp32", "bf16"] = "fp32"
    devices: int | Literal["auto"] = 1
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    log_every: int = 10
    validate_every: int = 500
    save_every: int = 500
    max_minutes: float | None = None
    keep: int = 2
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "validate_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if self.devices != "auto" and self.devices < 1:
            raise ValueError(f"`devices` must be auto or at least 1, not {self.devices}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"`seed` must lie between 0 and {(1 << 32) - 1}, not {self.seed}")


def bounded(default: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """A dataclass field with a default and the bounds that values from files must keep."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def read_options(path: Path, kind: type[Options], overrides: Sequence[str] = ()) -> Options:
    """The options in a yaml file. overrides: `dotted.key=value`, as given to --set. Raises OptionError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(f"The configuration {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The configuration {path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise OptionError(f"{path} is not valid yaml: {' '.join(str(error).split())[:200]}.") from None
    values = {} if values is None else values
    for override in overrides:
        _override(values, override)
    return parse_options(values, kind, str(path))


def parse_options(values: object, kind: type[Options], file: str = "configuration") -> Options:
    """The options in a mapping. file: named in errors. Raises OptionError."""
    parsed: Options = _Parser(file).dataclass(values, kind, "")
    return parsed


def plain(options: Any) -> Any:
    """Options as mappings, lists and scalars, for yaml and for comparison."""
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return {field.name: plain(getattr(options, field.name)) for field in dataclasses.fields(options)}
    if isinstance(options, Mapping):
        return {key: plain(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [plain(value) for value in options]
    return str(options) if isinstance(options, Path) else options


def _override(values: Any, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise OptionError(f"--set takes KEY=VALUE, not {override!r:.80}.")
    *sections, last = key.strip().split(".")
    for section in sections:
        if not isinstance(values, dict):
            break
        values = values.setdefault(section, {})
    if not isinstance(values, dict):
        raise OptionError(f"--set {override}: `{key}` does not lie in a section.")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise OptionError(f"--set {override}: the value is not valid yaml.") from None


class _Parser:
    def __init__(self, file: str) -> None:
        self.file = file

    def dataclass(self, value: object, kind: type[Any], key: str) -> Any:
        if not isinstance(value, dict):
            raise self.error(key, f"must be a mapping of settings, not {_show(value)}")
        hints, fields = get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}
        prefix = f"{key}." if key else ""
        for name in value:
            if name not in fields:
                raise self.error(f"{prefix}{name}", _unknown(str(name), list(fields)))
        found: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                found[name] = self.value(value[name], hints[name], f"{prefix}{name}")
                self.bounds(found[name], field, f"{prefix}{name}")
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise self.error(f"{prefix}{name}", "is missing")
        try:
            return kind(**found)
        except ValueError as error:
            where = f" (in `{key}`)" if key else ""
            raise OptionError(f"{self.file}{where}: {str(error).removesuffix('.')}.") from None

    def value(self, value: object, kind: Any, key: str) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if kind is Any:
            return value
        if origin in (Union, types.UnionType):
            return self.union(value, arguments, key)
        if origin is Literal:
            if value not in arguments or isinstance(value, bool) != any(isinstance(a, bool) for a in arguments):
                raise self.error(key, f"must be {_one_of(arguments)}, not {_show(value)}")
            return value
        if origin is tuple:
            if not isinstance(value, list | tuple):
                raise self.error(key, f"must be a list, not {_show(value)}")
            return tuple(self.value(item, arguments[0], f"{key}[{i}]") for i, item in enumerate(value))
        if origin is dict:
            if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
                raise self.error(key, f"must be a mapping, not {_show(value)}")
            return {name: self.value(item, arguments[1], f"{key}.{name}") for name, item in value.items()}
        if dataclasses.is_dataclass(kind):
            return self.dataclass(value, kind, key)  # type: ignore[arg-type]
        return self.scalar(value, kind, key)

    def union(self, value: object, kinds: tuple[Any, ...], key: str) -> Any:
        if value is None and type(None) in kinds:
            return None
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        if len(kinds) == 1:
            return self.value(value, kinds[0], key)
        for kind in kinds:
            try:
                return self.value(value, kind, key)
            except OptionError:
                continue
        raise self.error(key, f"must be {' or '.join(_name(kind) for kind in kinds)}, not {_show(value)}")

    def scalar(self, value: object, kind: Any, key: str) -> Any:
        if kind is float and isinstance(value, str):  # yaml reads 1e-4 as text
            try:
                value = float(value)
            except ValueError:
                raise self.error(key, f"must be a number, not {_show(value)}") from None
        accepted = {float: (int, float), Path: (str, Path)}.get(kind, (kind,))
        wrong_flag = isinstance(value, bool) and kind is not bool
        if wrong_flag or not isinstance(value, accepted) or (kind is float and not math.isfinite(value)):  # type: ignore[arg-type]
            raise self.error(key, f"must be {_name(kind)}, not {_show(value)}")
        return kind(value)

    def bounds(self, value: object, field: dataclasses.Field[Any], key: str) -> None:
        if "low" not in field.metadata or value is None:
            return
        low, high = field.metadata["low"], field.metadata["high"]
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, int | float) and not low <= item <= high:
                limits = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
                raise self.error(key, f"must be {limits}, not {item:g}")

    def error(self, key: str, what: str) -> OptionError:
        return OptionError(f"{self.file}: `{key}` {what}." if key else f"{self.file} {what}.")


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"is not a setting; {hint}known are {', '.join(known)}"


def _one_of(values: Sequence[object]) -> str:
    names = [str(value) for value in values]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind))
    if get_origin(kind) is tuple:
        return "a list"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(kind, "a mapping")


def _show(value: object) -> str:
    if value is None:
        return "empty"
    return f"{value!r:.60}" if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
