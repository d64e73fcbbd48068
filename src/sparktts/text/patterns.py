"""Pieces of patterns that both languages' rules share."""

from __future__ import annotations

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
DASH = r"\s?[-–—~～]\s?"
END = r"(?![\d]|\.\d)"
_MONTH_NAMES = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
MONTHS: dict[str, str] = {}
for _name in _MONTH_NAMES:
    MONTHS[_name] = MONTHS[_name[:3]] = MONTHS[_name[:3] + "."] = _name
MONTHS["Sept"] = MONTHS["Sept."] = "September"
MONTH_LIST = tuple(_MONTH_NAMES)
MONTH = r"(?:" + "|".join(_name + r"|" + _name[:3] + r"\.?" for _name in _MONTH_NAMES) + r"|Sept\.?)"


def valid_date(month: int, day: int) -> bool:
    """Whether a month and a day can be a date (not by the calendar of a year)."""
    return 1 <= month <= 12 and 1 <= day <= 31


def month_and_day(first: int, second: int) -> tuple[int, int] | None:
    """The month and day in "5/1" style: month first, unless only day first is possible."""
    if valid_date(first, second):
        return first, second
    return (second, first) if valid_date(second, first) else None
