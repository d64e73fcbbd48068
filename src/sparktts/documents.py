"""Texts to read aloud, out of the files that people have: plain text, Markdown, subtitles, EPUB books."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from .errors import TextError

SUFFIXES = (".txt", ".md", ".srt", ".epub")
MAX_BYTES = 64 << 20  # of a file, and of what an EPUB unpacks to
_CONTAINER = "META-INF/container.xml"
_BLOCK_NAMES = "p div h1 h2 h3 h4 h5 h6 li blockquote section article br tr dt dd figcaption hr pre"
_BLOCKS = frozenset(_BLOCK_NAMES.split(" "))
_SILENT = frozenset(("script", "style", "head", "title", "nav", "rt", "rp"))
_TIME = re.compile(r"^\s*\d{1,2}:\d{2}:\d{2}[,.]\d{1,3}\s*-->.*$")


def read_document(path: str | Path) -> str:
    """The text of a file, its paragraphs apart by empty lines. Raises TextError."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TextError(f"'{path.name}' is no text that can be read: give one of {', '.join(SUFFIXES)}.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TextError(f"'{path.name}' is larger than {MAX_BYTES >> 20} MB: give a part of it.")
        text = _epub(path) if suffix == ".epub" else _decoded(path)
    except OSError as error:
        raise TextError(f"'{path.name}' cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if suffix == ".srt":
        text = subtitles(text)
    if not text.strip():
        raise TextError(f"There is no text in '{path.name}'.")
    return text


def subtitles(text: str) -> str:
    """What is said in SubRip's format, without numbers, times and tags."""
    entries = []
    for block in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n")):
        lines = block.strip().split("\n")
        if lines and lines[0].strip().isdigit() and len(lines) > 1:
            lines = lines[1:]
        said = " ".join(line.strip() for line in lines if not _TIME.match(line))
        entries.append(re.sub(r"<[^<>]*>|\{\\[^{}]*\}", "", said).strip())
    return "\n".join(entry for entry in entries if entry)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TextError(f"'{path.name}' is no text in UTF-8: save it in that encoding.")


def _epub(path: Path) -> str:
    """The chapters of a book in their order."""
    try:
        with zipfile.ZipFile(path) as book:
            if sum(entry.file_size for entry in book.infolist()) > 8 * MAX_BYTES:
                raise TextError(f"'{path.name}' unpacks to more than it should: it is no book.")
            left = MAX_BYTES
            chapters = []
            for name in _spine(book):
                text = _words_of(_member(book, name, left))
                left -= len(text)
                chapters.append(text)
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, ValueError, RuntimeError, NotImplementedError):
        raise TextError(f"'{path.name}' is no EPUB that can be read: it is damaged, or locked.") from None
    return "\n\n".join(chapter for chapter in chapters if chapter)


def _spine(book: zipfile.ZipFile) -> Iterator[str]:
    """Names of the chapters."""
    root = _xml(_member(book, _CONTAINER, MAX_BYTES)).find(".//{*}rootfile")
    if root is None:
        raise ValueError("no package")
    package = root.attrib["full-path"]
    opf = _xml(_member(book, package, MAX_BYTES))
    files = {item.attrib["id"]: item.attrib["href"] for item in opf.iterfind(".//{*}manifest/{*}item")}
    for reference in opf.iterfind(".//{*}spine/{*}itemref"):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(files[reference.attrib["idref"]])))


def _member(book: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The beginning of a file in the archive, so that what unpacks to more than it says does no harm."""
    with book.open(name) as file:
        return file.read(most + 1)[:most]


def _xml(data: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in data:  # nothing good comes of them
        raise ValueError("entities")
    return ElementTree.fromstring(data)


def _words_of(page: bytes) -> str:
    parser = _Words()
    parser.feed(page.decode("utf-8", "replace"))
    parser.close()
    paragraphs = ("".join(parser.parts)).split("\0")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip())


class _Words(HTMLParser):
    """Text of a page; a zero character where a paragraph ends."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append("\0")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self.parts.append("\0")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        if tag in _BLOCKS:
            self.parts.append("\0")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data.replace("\0", " "))
