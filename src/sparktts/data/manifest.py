"""What is to be prepared: lists of clips in the usual forms, read into one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..text.spans import dominant_language
from .audio_source import MEMBER, TAR_SUFFIXES, parquet_member, read_bytes, tar_index

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utterance_id", "key"),
    "audio": ("audio", "path", "file", "audio_path", "audio_file", "file_name", "wav"),
    "text": ("text", "sentence", "transcript", "transcription", "normalized_text"),
    "language": ("language", "lang", "locale"),
    "speaker": ("speaker", "voice", "speaker_id", "client_id"),
    "gender": ("gender", "sex"),
    "words": ("words", "phonemes"),
    "duration": ("duration",),
}
_MANIFEST = "manifest.jsonl"
_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}
_LANGUAGES = {  # everything that is read as one of the two; mixed speech is Mandarin with English words
    **dict.fromkeys(("zh", "cmn", "chinese", "mandarin", "mix"), "zh"),
    **dict.fromkeys(("en", "eng", "english"), "en"),
}


@dataclass(frozen=True)
class Entry:
    """One line of a manifest. audio: as in `Clip`; words: phoneme groups, if it has any; duration: as stated."""

    id: str
    audio: str
    text: str
    language: str
    speaker: str
    gender: str | None = None
    words: tuple[str, ...] | None = None
    duration: float | None = None


@dataclass(frozen=True)
class Rejected:
    """A clip that was left out. reason: a short name to count by; detail: one sentence."""

    id: str
    audio: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Manifest:
    """The clips to prepare. root: folder that their audio is relative to."""

    root: Path
    entries: tuple[Entry, ...]
    rejected: tuple[Rejected, ...]

    @property
    def hours(self) -> float | None:
        """Hours of sound, if the manifest states every duration."""
        seconds = [entry.duration for entry in self.entries if entry.duration is not None]
        return sum(seconds) / 3600 if seconds and len(seconds) == len(self.entries) else None

    @property
    def fingerprint(self) -> str:
        """Equal for equal lists of clips."""
        return fingerprint(self.entries)


def fingerprint(entries: Iterable[Entry], *more: object) -> str:
    """Equal for equal lists of clips, and equal other values."""
    digest = hashlib.sha256(json.dumps(more, ensure_ascii=False, default=str).encode())
    for entry in entries:
        stated = replace(entry, duration=None)
        digest.update(json.dumps(tuple(vars(stated).values()), ensure_ascii=False).encode(errors="replace"))
    return digest.hexdigest()[:16]


def read_manifest(source: str | os.PathLike[str], language: str | None = None, speaker: str | None = None) -> Manifest:
    """Reads a list of clips.

    source: JSONL, CSV (with a header, or as LJSpeech), a tar with manifest.jsonl in it, or a folder that holds one of
    these, tars, or Parquet files with sound. language, speaker: of every clip, whatever the list says. Lines that
    cannot be used are among `rejected`. Raises OptionError if there is nothing to read.
    """
    path = Path(source)
    if language is not None and _language(language) is None:
        raise OptionError(f"'{language}' is no language; use zh, en or another two-letter code.")
    root, rows = _rows(path)
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for where, row in rows:
        found = row if isinstance(row, Rejected) else _entry(where, row, language, speaker)
        if isinstance(found, Entry) and found.id in seen:
            detail = f"The id '{found.id}' comes a second time ({where}); the first one was taken."
            found = Rejected(found.id, found.audio, "duplicate_id", detail)
        if isinstance(found, Entry):
            seen.add(found.id)
            entries.append(found)
        else:
            rejected.append(found)
    if not entries:
        why = f" ({rejected[0].detail.rstrip('.')})" if rejected else ""
        raise OptionError(f"'{path}' lists no clip that can be used{why}; see docs/prepare.md for the forms of lists.")
    return Manifest(root, tuple(entries), tuple(rejected))


_Rows = Iterator[tuple[str, "dict[str, Any] | Rejected"]]  # (where it stands, column -> value)


def _rows(path: Path) -> tuple[Path, _Rows]:
    """The folder that audio is relative to, and the lines."""
    if path.is_dir():
        return _folder_rows(path)
    if not path.is_file():
        raise OptionError(f"There is no manifest '{path}'; give a .jsonl, .csv or .tar file, or a folder with one.")
    if path.suffix.lower() in TAR_SUFFIXES:
        return path.parent, _tar_rows(path)
    if path.suffix.lower() == ".parquet":
        return path.parent, _parquet_rows(path.parent, [path])
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return path.parent, _csv_rows(_text(path), path.name)
    if path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
        return path.parent, _json_rows(_text(path), path.name)
    raise OptionError(f"'{path.name}' is no manifest; give a .jsonl, .csv or .tar file, or a folder with one.")


def _folder_rows(path: Path) -> tuple[Path, _Rows]:
    for name in (_MANIFEST, *_TABLES):
        if (path / name).is_file():
            return _rows(path / name)
    tars = sorted(p for p in path.iterdir() if p.suffix.lower() in TAR_SUFFIXES)
    if tars:
        return path, (row for tar in tars for row in _tar_rows(tar))
    tables = sorted(path.rglob("*.parquet"))
    if tables:
        return path, _parquet_rows(path, tables)
    raise OptionError(
        f"'{path}' holds no {_MANIFEST}, metadata.csv, tar or Parquet file; list its clips in one of these."
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(f"'{path}' is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise OptionError(f"'{path}' cannot be read ({(error.strerror or str(error)).lower()}).") from None


def _json_rows(text: str, name: str) -> _Rows:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield where, row
            else:
                yield where, Rejected(where, "", "bad_line", f"{where} is not a JSON object.")


def _tar_rows(path: Path) -> _Rows:
    """Lines of the manifest inside a tar; their audio is in the tar too."""
    names = [name for name in tar_index(path) if name.rsplit("/", 1)[-1] == _MANIFEST]
    if not names:
        raise OptionError(
            f"There is no {_MANIFEST} in '{path}'; put one in, or write one beside it that names its members."
        )
    name = min(names, key=len)
    folder = name.removesuffix(_MANIFEST)
    try:
        text = read_bytes(path.parent, path.name + MEMBER + name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(f"{_MANIFEST} in '{path}' is not UTF-8 text; save it as UTF-8.") from None
    for where, row in _json_rows(text, f"{path.name}{MEMBER}{name}"):
        if isinstance(row, dict):
            key = _column(row, "audio")
            if key is not None and isinstance(row[key], str):
                row[key] = f"{path.name}{MEMBER}{folder}{row[key]}"
        yield where, row


def _csv_rows(text: str, name: str) -> _Rows:
    first = text.split("\n", 1)[0]
    known = {alias for aliases in COLUMNS.values() for alias in aliases}
    delimiter = max(
        "|,\t;", key=lambda mark: len(known & {cell.strip().strip('"').lower() for cell in first.split(mark)})
    )
    header = [cell.strip().strip('"').lower() for cell in first.split(delimiter)]
    try:
        if _column(dict.fromkeys(header), "audio") and _column(dict.fromkeys(header), "text"):
            reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=delimiter != "|")
            header = [cell.strip().lower() for cell in next(reader)]
            for cells in reader:
                where = f"{name} line {reader.line_num}"
                if len(cells) > len(header):
                    yield where, Rejected(where, "", "bad_line", f"{where} has more cells than the header.")
                elif any(cells):
                    yield where, dict(zip(header, cells, strict=False))
        else:
            yield from _ljspeech_rows(text, name)
    except csv.Error as error:
        raise OptionError(f"'{name}' is no CSV that can be read ({error}); export it again.") from None


def _ljspeech_rows(text: str, name: str) -> _Rows:
    """`id|text|normalised`, the sound in wavs/ID.wav; the last cell is what is said."""
    for number, line in enumerate(text.split("\n"), start=1):
        cells = [cell.strip() for cell in line.rstrip("\r").split("|")]
        if cells == [""]:
            continue
        where = f"{name} line {number}"
        if len(cells) not in (2, 3) or not cells[0]:
            detail = f"{where} is not `id|text|normalised`, and the file has no header that names audio and text."
            yield where, Rejected(where, "", "bad_line", detail)
        else:
            yield where, {"id": cells[0], "audio": f"wavs/{cells[0]}.wav", "text": cells[-1] or cells[1]}


def _parquet_rows(root: Path, paths: list[Path]) -> _Rows:
    """Rows of tables with sound inside, or the paths of sound files."""
    from .schema import pyarrow

    parquet = pyarrow().parquet
    for path in paths:
        try:
            file = parquet.ParquetFile(path)
            kinds = {field.name: str(field.type) for field in file.schema_arrow}
            audio = _column(kinds, "audio")
            if audio is None:
                raise OptionError(f"'{path}' has no column with sound; it has {', '.join(kinds)}.")
            embedded = kinds[audio].startswith(("struct", "binary", "large_binary"))
            wanted = [name for name in kinds if name != audio and _known(name)]
            paths_in = [f"{audio}.path"] if kinds[audio].startswith("struct") and "path: string" in kinds[audio] else []
            relative = path.relative_to(root).as_posix()
            number = 0
            for batch in file.iter_batches(1024, columns=wanted + (paths_in if embedded else [audio])):
                for row in batch.to_pylist():
                    where = f"{relative} row {number}"
                    if embedded:
                        stored = (row.pop(audio, None) or {}).get("path")
                        row.setdefault("id", Path(stored).stem if stored else f"{path.stem}-{number:06d}")
                        row["audio"] = parquet_member(relative, audio, number)
                    yield where, row
                    number += 1
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise OptionError(f"'{path}' is no Parquet file that can be read ({reason}); copy it again.") from None


def _known(name: str) -> bool:
    return any(name.lower() in aliases for aliases in COLUMNS.values())


def _column(row: Mapping[str, Any], name: str) -> str | None:
    """The key under which a row has this column."""
    for alias in COLUMNS[name]:
        for key in row:
            if isinstance(key, str) and key.lower() == alias:
                return key
    return None


def _value(row: Mapping[str, Any], name: str) -> Any:
    key = _column(row, name)
    value = None if key is None else row[key]
    return value.strip() if isinstance(value, str) else value


def _entry(where: str, row: Mapping[str, Any], language: str | None, speaker: str | None) -> Entry | Rejected:
    audio, text = _value(row, "audio"), _value(row, "text")
    if isinstance(audio, dict):
        audio = audio.get("path")
    if not isinstance(audio, str) or not audio:
        return Rejected(str(_value(row, "id") or where), "", "no_audio", f"{where} names no audio.")
    audio = audio.replace("\\", "/")
    name = _value(row, "id")
    name = str(name) if name not in (None, "") else _id_of(audio)
    if text is not None and not isinstance(text, str):
        text = str(text)
    if not text:
        return Rejected(name, audio, "empty_text", f"'{name}' has no transcript.")
    stated = language or _value(row, "language")
    spoken = dominant_language(text) if stated in (None, "") else _language(str(stated))
    if spoken is None:
        return Rejected(name, audio, "unknown_language", f"'{name}' is in the language '{stated}', which is no code.")
    voice = speaker or _value(row, "speaker")
    duration = _value(row, "duration")
    return Entry(
        id=name,
        audio=audio,
        text=" ".join(text.split()),
        language=spoken,
        # Without a name every clip is a speaker of its own, so that none lends its voice to another.
        speaker=name if voice in (None, "") else str(voice),
        gender=_GENDERS.get(str(_value(row, "gender")).lower()),
        words=_words(_value(row, "words")),
        duration=float(duration) if isinstance(duration, (int, float)) and 0 < duration < 1e6 else None,
    )


def _words(value: Any) -> tuple[str, ...] | None:
    """Phoneme groups: a list of them, or a text with spaces between them; punctuation joins the group before it."""
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, (list, tuple)):
        return None
    words: list[str] = []
    for group in (str(part).strip() for part in value):
        if words and group and all(unicodedata.category(char)[0] == "P" for char in group):
            words[-1] += group
        elif group:
            words.append(group)
    return tuple(words) or None


def _id_of(audio: str) -> str:
    stem = re.sub(r"\.\w{1,5}$", "", audio).removeprefix("./")
    return stem.replace(MEMBER, "/").replace(".tar/", "/")


def _language(name: str) -> str | None:
    """zh and en by any of their names, other languages by their code."""
    code = re.split(r"[-_]", name.strip().lower())[0]
    if code in _LANGUAGES:
        return _LANGUAGES[code]
    return code if re.fullmatch(r"[a-z]{2,3}", code) else None
