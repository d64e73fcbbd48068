"""English abbreviations whose full stop would be taken for the end of a sentence."""

from __future__ import annotations

import re

from .tracked import Tracked

# Before a name: never the end of a sentence.
_TITLES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Ms",
    "Prof": "Professor",
    "Gen": "General",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Capt": "Captain",
    "Lt": "Lieutenant",
    "Col": "Colonel",
    "Sgt": "Sergeant",
    "Rev": "Reverend",
    "Mt": "Mount",
    "Ft": "Fort",
}
# Anywhere: the stop is kept where a sentence ends.
_WORDS = {
    "e.g": "for example",
    "i.e": "that is",
    "etc": "et cetera",
    "vs": "versus",
    "cf": "compare",
    "approx": "approximately",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Ph.D": "PhD",
    "a.m": "AM",
    "p.m": "PM",
    "dept": "department",
    "est": "estimated",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
}
_TITLE = re.compile(rf"(?<![^\W\d_])(?:(Dr|Mr|Mrs|Ms|Prof)\.\s?(?=[A-Z])|({'|'.join(_TITLES)})\.\s(?=[A-Z][a-z]))")
_ANY_WORD = "|".join(re.escape(word) for word in sorted(_WORDS, key=len, reverse=True))
_WORD = re.compile(
    rf"(?<![^\W\d_]|\.)({_ANY_WORD})\.(?![A-Za-z0-9])",
)
_SAINT = re.compile(r"(?<![^\W\d_])St\.\s(?=[A-Z])")
_STREET = re.compile(r"(?<=[a-z]\s)St\.(?!\s[A-Z][a-z])")
_SPELLED = re.compile(r"(?<![A-Za-z.])(?:[A-Z]\.){2,}(?![A-Za-z])")
_STARTERS = frozenset(
    [
        "The",
        "A",
        "An",
        "It",
        "He",
        "She",
        "They",
        "We",
        "I",
        "You",
        "This",
        "That",
        "These",
        "Those",
        "There",
        "But",
        "And",
        "So",
        "In",
        "On",
        "At",
        "When",
        "While",
        "After",
        "Before",
        "If",
        "However",
        "Then",
        "For",
        "As",
        "My",
        "Our",
        "His",
        "Her",
        "Their",
        "What",
        "Who",
        "Why",
        "How",
        "Where",
    ]
)
_NEXT = re.compile(r"\s*([^\W\d_]*)")
_CLOSERS = re.compile(r"[\"'”’)\]]*\s*$")


def expand_abbreviations(text: Tracked) -> Tracked:
    """ "Dr. Lee" -> "Doctor Lee", "e.g." -> "for example", "U.S." -> "U S"."""
    text = text.sub(_TITLE, lambda match: _TITLES[match[1] or match[2]] + " ")
    text = text.sub(_STREET, lambda match: "Street" + _stop(match))
    text = text.sub(_SAINT, "Saint ")
    text = text.sub(_WORD, lambda match: _WORDS[match[1]] + _stop(match))
    return text.sub(_SPELLED, lambda match: " ".join(match.group().replace(".", "")) + _stop(match))


def _stop(match: re.Match[str]) -> str:
    """The full stop, if the abbreviation also ends a sentence."""
    if _CLOSERS.match(match.string, match.end()):
        return "."
    after = _NEXT.match(match.string, match.end())
    return "." if after and after[1] in _STARTERS else ""
