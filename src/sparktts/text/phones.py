"""Telephone numbers, which are read digit by digit in their groups."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORMS = (
    r"\+\d{1,3}[ -]?(?:\(\d{1,4}\)|\d{1,4})(?:[ .-]?\d{2,4}){2,4}",  # +1 (415) 555-0132, +86 138 1234 5678
    r"\(0?\d{2,3}\) ?\d{3,4}-?\d{4}",  # (415) 555-0132, (010) 6552-9988
    r"1-\d{3}-\d{3}-\d{4}",
    r"\d{3}([-.])\d{3}\1\d{4}",  # 415-555-0132, 400-800-1234
    r"1[3-9]\d([ -])\d{4}\1\d{4}",  # 138-1234-5678
    r"1[3-9]\d{9}",
    r"0\d{2,3}-\d{3,4}-\d{4}",
    r"0\d{2,3}-\d{7,8}",  # 010-12345678
    r"\d{3}-0\d{3}",  # 555-0132
)
_EDGE = r"(?![\d%°]|[.,-]\d)"
_PHONES = tuple(re.compile(form + _EDGE) for form in _FORMS)
_CALLED = re.compile(r"\d{3}-\d{4}" + _EDGE)
_CALL_WORD = re.compile(r"(?:call|phone|dial|tel|mobile|number|fax|电话|拨打|手机|热线)\W{0,3}(?:is|at)?\W{0,2}$", re.I)
_MIN_DIGITS = 7


@dataclass(frozen=True)
class Phone:
    """groups: the digits as written in groups, the country code included; end: where the number ends."""

    plus: bool
    groups: tuple[str, ...]
    end: int


def phone_at(text: str, start: int) -> Phone | None:
    """The telephone number that starts at `start`, if there is one."""
    match = next((found for form in _PHONES if (found := form.match(text, start))), None)
    if match is None and _CALL_WORD.search(text, max(0, start - 20), start):
        match = _CALLED.match(text, start)
    if match is None:
        return None
    groups = re.findall(r"\d+", match.group())
    if len("".join(groups)) < _MIN_DIGITS:
        return None
    if len(groups) == 1 and len(groups[0]) == 11:
        groups = [groups[0][:3], groups[0][3:7], groups[0][7:]]
    return Phone(match.group().startswith("+"), tuple(groups), match.end())
