"""Web and e-mail addresses in words."""

from __future__ import annotations

import re

from ..types import Language
from .notes import Notes
from .spans import HAN, language_at
from .tracked import Tracked

_ENDINGS = "com|org|net|io|cn|edu|gov|uk|de|fr|jp|ai|dev|app|tv|info|eu|ru|us|ca|co"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+"
URL = re.compile(
    rf"(?:https?|ftp)://[^\s<>\"'“”‘’（）()【】，。！？；、{HAN}]+"
    rf"|(?<![A-Za-z0-9@._-])www\.[^\s<>\"'“”‘’（）()【】，。！？；、{HAN}]+"
    rf"|(?<![A-Za-z0-9@._/-]){_HOST}(?:{_ENDINGS})(?![A-Za-z0-9_-])(?:/[^\s<>\"'“”‘’（）()【】，。！？；、{HAN}]*)?"
)
EMAIL = re.compile(rf"(?:mailto:)?(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+@{_HOST}[A-Za-z]{{2,}}(?![A-Za-z0-9])")
_SCHEME = re.compile(r"^(?:[a-z]+://)?(?:www\.)?", re.I)
_TAIL = re.compile(r"[.,;:!?*_~'\"]+$")
_LONG = 40  # characters of a path that nobody wants to hear
_EN = {
    ".": " dot ",
    "/": " slash ",
    "-": " dash ",
    "_": " underscore ",
    "@": " at ",
    "+": " plus ",
    "%": " percent ",
    ":": " colon ",
    "=": " equals ",
    "&": " and ",
    "#": " hash ",
    "~": " tilde ",
}
_ZH = {
    ".": "点",
    "/": "斜杠",
    "-": "杠",
    "_": "下划线",
    "@": " at ",
    "+": "加",
    "%": "百分号",
    ":": "冒号",
    "=": "等于",
    "&": "和",
    "#": "井号",
    "~": "波浪号",
}


def read_links(text: Tracked, language: Language | None, default: Language, notes: Notes) -> Tracked:
    """ "https://www.example.com/" -> "example dot com", among Chinese "example点com"; each is noted."""

    def spoken(address: str, written: str, match: re.Match[str]) -> str:
        spoken_in = language or language_at(text.text, match.start(), match.end(), default)
        reading = _spell(address, _ZH if spoken_in == "zh" else _EN)
        notes.links.append((written, reading))
        return reading

    text = text.sub(EMAIL, lambda match: spoken(match.group().removeprefix("mailto:"), match.group(), match))

    def read_url(match: re.Match[str]) -> str | None:
        tail = _TAIL.search(match.group())
        address = match.group()[: tail.start() if tail else None]
        short = _SCHEME.sub("", address).rstrip("/")
        host, slash, path = short.partition("/")
        if "?" in short or "#" in short or len(path) > _LONG:
            host, slash, path = re.split(r"[/?#]", host, maxsplit=1)[0], "", ""
        reading = spoken(host + slash + path, address, match)
        return (reading or " ") + (tail.group() if tail else "")

    return text.sub(URL, read_url)


def _spell(address: str, names: dict[str, str]) -> str:
    spelled = "".join(names.get(char, char if char.isalnum() else " ") for char in address)
    return re.sub(r"\s+", " ", spelled).strip()
