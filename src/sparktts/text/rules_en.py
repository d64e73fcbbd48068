"""How English reads what the general grammar reads wrong: dates, times, money, years, units, numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from .numbers import en_cardinal, en_digits, en_number, en_ordinal, en_year
from .patterns import DASH, END, MONTH, MONTH_LIST, MONTHS, NUMBER, month_and_day, valid_date
from .phones import phone_at
from .units import CURRENCIES, CURRENCY, UNIT, UNITS

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], "str | None"]]
_MAGNITUDES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "b": "billion",
    "B": "billion",
}
_MAGNITUDE = r"(?:\s?(?P<scale>thousand|million|billion|trillion)\b|(?P<letter>[kKmMbB])n?\b)?"
_YEAR_WORD = re.compile(
    r"\b(?:in|since|by|from|until|till|of|year|before|after|during|circa|early|late|around|between|and|to)\s$",
    re.I,
)


def read_english(text: str, start: int) -> tuple[str, int] | None:
    """The reading of the expression at `start`, and where it ends; None if no rule applies."""
    phone = phone_at(text, start)
    if phone:
        spoken = ", ".join(en_digits(group) for group in phone.groups)
        return ("plus " if phone.plus else "") + spoken, phone.end
    for pattern, read in _RULES:
        match = pattern.match(text, start)
        if match and (spoken_or_none := read(match)):
            return spoken_or_none, match.end()
    return None


def _amount(number: str, one: str, many: str) -> str:
    return f"{en_number(number)} {one if number == '1' else many}"


def _date(year: str | None, month: int, day: int) -> str:
    spoken = f"{MONTH_LIST[month - 1]} {en_ordinal(day)}"
    return f"{spoken}, {en_year(int(year))}" if year else spoken


def _iso_date(match: re.Match[str]) -> str | None:
    year, month, day = match["y"], int(match["m"]), int(match["d"])
    return _date(year, month, day) if valid_date(month, day) else None


def _slash_date(match: re.Match[str]) -> str | None:
    found = month_and_day(int(match["a"]), int(match["b"]))
    return _date(match["y"], *found) if found else None


def _month_day(match: re.Match[str]) -> str | None:
    month, day = MONTHS[match["month"]], int(match["day"])
    if not 1 <= day <= 31:
        return None
    spoken = f"{month} {en_ordinal(day)}"
    if match["day2"]:
        spoken += f" to {en_ordinal(int(match['day2']))}"
    return f"{spoken}, {en_year(int(match['year']))}" if match["year"] else spoken


def _day_month(match: re.Match[str]) -> str | None:
    day = int(match["day"])
    if not 1 <= day <= 31:
        return None
    spoken = f"the {en_ordinal(day)} of {MONTHS[match['month']]}"
    return f"{spoken}, {en_year(int(match['year']))}" if match["year"] else spoken


def _month_year(match: re.Match[str]) -> str:
    return f"{MONTHS[match['month']]} {en_year(int(match['year']))}"


def _clock(hour: int, minute: int, noon: str) -> str:
    if minute == 0:
        if noon:
            return en_cardinal(hour)
        return en_cardinal(hour) + (" o'clock" if 1 <= hour <= 12 else " hundred" if hour else " o'clock")
    return f"{en_cardinal(hour)} {'oh ' if minute < 10 else ''}{en_cardinal(minute)}"


def _time(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match["h"]), int(match["m"]), match["s"]
    if hour > 24 or minute > 59 or (second and int(second) > 59):
        return None
    noon = (match["noon"] or "").replace(".", "").upper()
    spoken = _clock(hour, minute, noon)
    if second:
        spoken += f" and {_amount(str(int(second)), 'second', 'seconds')}"
    return f"{spoken} {noon}" if noon else spoken


def _times(match: re.Match[str]) -> str | None:
    ends = [_CLOCK.fullmatch(part) for part in (match["from"], match["to"])]
    if any(int(end["h"]) > 24 or int(end["m"]) > 59 for end in ends if end):
        return None
    noon = (match["noon"] or "").replace(".", "").upper()
    spoken = " to ".join(_clock(int(end["h"]), int(end["m"]), noon) for end in ends if end)
    return f"{spoken} {noon}" if noon else spoken


def _product(match: re.Match[str]) -> str:
    word = "by" if match["mark"] in "xX" else "times"
    return f"{en_number(match['a'])} {word} {en_number(match['b'])}" + (
        f" {word} {en_number(match['c'])}" if match["c"] else ""
    )


def _power(match: re.Match[str]) -> str:
    return f"{en_number(match['a'])} to the power of {_sign(match['sign'])}{en_number(match['b'])}"


def _height(match: re.Match[str]) -> str:
    return f"{en_number(match['a'])} foot {en_number(match['b'])}"


def _hour(match: re.Match[str]) -> str | None:
    if not 1 <= int(match["h"]) <= 12:
        return None
    return f"{en_cardinal(int(match['h']))} {match['noon'].replace('.', '').upper()}"


def _ratio(match: re.Match[str]) -> str:
    return f"{en_number(match['a'])} to {en_number(match['b'])}"


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents, _ = CURRENCIES[match["currency"]]
    sign = "minus " if match["sign"] else ""
    number, upper = match["n"], match["n2"]
    scale = match["scale"] or _MAGNITUDES.get(match["letter"] or "", "")
    whole, _, fraction = number.replace(",", "").partition(".")
    if not scale and not upper and len(fraction) == 2 and cent and len(whole) <= 15:
        parts = [] if int(whole) == 0 and int(fraction) else [_amount(str(int(whole)), one, many)]
        if int(fraction):
            parts.append(_amount(str(int(fraction)), cent, cents))
        return sign + " and ".join(parts)
    if fraction:
        number = f"{whole}.{fraction.rstrip('0')}".rstrip(".")
    if upper:
        return f"{sign}{en_number(number)} to {en_number(upper)}{' ' + scale if scale else ''} {many}"
    if scale:
        return f"{sign}{en_number(number)} {scale} {many}"
    return sign + _amount(number, one, many)


def _sign(mark: str | None) -> str:
    return {"+": "plus "}.get(mark, "minus ") if mark else ""


def _percent(match: re.Match[str]) -> str:
    number = en_number(match["n"]) + (f" to {en_number(match['n2'])}" if match["n2"] else "")
    return f"{_sign(match['sign'])}{number} {'percent' if match['mark'] in '%％' else 'per mille'}"


def _quantity(match: re.Match[str]) -> str | None:
    one, many, _ = UNITS[match["unit"]]
    if match["gap"] and len(match["unit"]) == 1 and match["unit"] not in "mgLWVh°":
        return None
    if match["n2"]:
        return f"{en_number(match['n'])} to {_amount(match['n2'], one, many)}"
    return _sign(match["sign"]) + _amount(match["n"], one, many)


def _dotted(match: re.Match[str]) -> str:
    parts = match["dotted"].split(".")
    address = len(parts) == 4 and not match["v"]
    joint = " dot " if address else " point "
    spoken = joint.join(en_digits(part) if address else en_number(part) for part in parts)
    return ("v " if match["v"] else "") + spoken


def _version(match: re.Match[str]) -> str:
    return "v " + en_number(match["n"])


def _ordinal(match: re.Match[str]) -> str:
    return en_ordinal(int(match[1]))


def _plural_year(year: str) -> str:
    spoken = en_year(int(year))
    return spoken[:-1] + "ies" if spoken.endswith("y") else spoken + "s"


def _decade(match: re.Match[str]) -> str | None:
    return _plural_year(match["y"]) if match["y"] != "0" else None


def _years(match: re.Match[str]) -> str | None:
    first, second = int(match["a"]), int(match["b"])
    if not (1000 <= first < 2100 and (1000 <= second < 2100 or second < 100)):
        return None
    return f"{en_year(first)} to {en_year(second) if second >= 100 else en_number(match['b'])}"


def _year(match: re.Match[str]) -> str | None:
    year = int(match[0])
    if 1900 <= year < 2100:
        return en_year(year)
    before = match.string[max(0, match.start() - 10) : match.start()]
    return en_year(year) if 1100 <= year < 1900 and _YEAR_WORD.search(before) else None


def _mixed(match: re.Match[str]) -> str | None:
    whole, top, bottom = match["whole"], int(match["a"]), int(match["b"])
    if (whole is None and (top, bottom) == (24, 7)) or (top, bottom) == (9, 11):
        return f"{en_cardinal(top)} {en_cardinal(bottom)}"
    if not bottom or top >= bottom or bottom > 100:
        return f"{whole + ' ' if whole else ''}{en_cardinal(top)} over {en_cardinal(bottom)}" if not whole else None
    name = {2: "half", 4: "quarter"}.get(bottom) or en_ordinal(bottom)
    if top > 1:
        name = "halves" if bottom == 2 else name + "s"
    if whole:
        return f"{en_cardinal(int(whole))} and {'a' if top == 1 else en_cardinal(top)} {name}"
    return f"{en_cardinal(top)} {name}"


def _range(match: re.Match[str]) -> str:
    return f"{_sign(match['sign'])}{en_number(match['a'])} to {en_number(match['b'])}"


def _chain(match: re.Match[str]) -> str:
    return ", ".join(en_digits(part) for part in match[0].split("-"))


def _number_sign(match: re.Match[str]) -> str:
    return f"number {en_number(match['n'])}"


def _code(match: re.Match[str]) -> str | None:
    """Three or more digits stuck to letters are a name: "A380", "F150"."""
    attached = match.start() and match.string[match.start() - 1].isalpha()
    return en_digits(match[0]) if attached and match.string[match.start() - 1].isascii() else None


def _plain(match: re.Match[str]) -> str:
    return _sign(match["sign"]) + en_number(match["n"])


def _point(match: re.Match[str]) -> str:
    return f"{_sign(match['sign'])}point {en_digits(match['n'])}"


def _rule(pattern: str, read: Callable[[re.Match[str]], str | None]) -> _Rule:
    return re.compile(pattern), read


_NOON = r"(?P<noon>[aApP]\.?\s?[mM](?![A-Za-z])(?:\.(?!\s*$|\s+[A-Z]))?)"
_SIGN = r"(?P<sign>[-−+])?"
_YEAR = r"(?P<year>[12]\d{3})"
_CLOCK = re.compile(r"(?P<h>\d{1,2}):(?P<m>\d{2})")
_RULES: tuple[_Rule, ...] = (
    _rule(r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + END, _iso_date),
    _rule(r"(?P<a>\d{1,2})([-/.])(?P<b>\d{1,2})\2(?P<y>\d{4})" + END, _slash_date),
    _rule(
        rf"(?P<month>{MONTH})\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:])(?:[-–](?P<day2>\d{{1,2}})(?!\d))?"
        rf"(?:,?\s{_YEAR}(?!\d))?",
        _month_day,
    ),
    _rule(rf"(?P<month>{MONTH})\s{_YEAR}" + END, _month_year),
    _rule(
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\sof)?\s(?P<month>{MONTH})(?![A-Za-z])(?:,?\s{_YEAR}(?!\d))?",
        _day_month,
    ),
    _rule(rf"(?P<from>\d{{1,2}}:\d{{2}}){DASH}(?P<to>\d{{1,2}}:\d{{2}})(?![\d:])(?:\s?{_NOON})?", _times),
    _rule(r"(?P<a>[4-7])'(?P<b>1[01]|\d)(?:\"|''|(?!\w))", _height),
    _rule(rf"(?P<h>\d{{1,2}}):(?P<m>\d{{2}})(?::(?P<s>\d{{2}}))?(?!\d|:\d)(?:\s?{_NOON})?", _time),
    _rule(rf"(?P<h>\d{{1,2}})\s?{_NOON}", _hour),
    _rule(r"(?P<a>\d+):(?P<b>\d+)(?![\d:])", _ratio),
    _rule(
        rf"(?P<sign>[-−])?(?P<currency>{CURRENCY})\s?(?P<n>{NUMBER})(?:[-–](?P<n2>{NUMBER}))?{_MAGNITUDE}",
        _money,
    ),
    _rule(rf"{_SIGN}(?P<n>{NUMBER})(?:%?{DASH}(?P<n2>{NUMBER}))?\s?(?P<mark>[%％‰])", _percent),
    _rule(r"(?P<v>[vV])?(?P<dotted>\d+(?:\.\d+){2,})", _dotted),
    _rule(rf"[vV](?P<n>{NUMBER})", _version),
    _rule(r"(\d{1,12})(?:st|nd|rd|th)\b", _ordinal),
    _rule(r"(?P<y>[12]\d{2}0)'?s\b", _decade),
    _rule(r"['’]?(?P<y>[1-9]0)'?s\b", _decade),
    _rule(
        rf"(?P<a>{NUMBER})\s?(?P<mark>[xX×*])\s?(?P<b>{NUMBER})(?:\s?(?P=mark)\s?(?P<c>{NUMBER}))?(?![\w.])",
        _product,
    ),
    _rule(rf"(?P<a>{NUMBER})\^(?P<sign>[-−])?(?P<b>\d+)", _power),
    _rule(
        rf"{_SIGN}(?P<n>{NUMBER})(?:(?:{UNIT})?{DASH}(?P<n2>{NUMBER}))?(?P<gap>\s)?(?P<unit>{UNIT})",
        _quantity,
    ),
    _rule(r"(?P<a>\d{4})[-–](?P<b>\d{2}|\d{4})(?![\d-])" + END, _years),
    _rule(r"(?:(?P<whole>\d{1,6})\s)?(?P<a>\d{1,6})\s?/\s?(?P<b>\d{1,6})(?![\d/])", _mixed),
    _rule(r"\d+(?:-\d+){2,}(?!\d)", _chain),
    _rule(rf"(?<![A-Za-z]){_SIGN}(?P<a>{NUMBER})[-–~](?P<b>{NUMBER})" + END, _range),
    _rule(rf"(?:[Nn]o\.\s?|[Nn]os\.\s?|#\s?)(?P<n>{NUMBER})", _number_sign),
    _rule(r"[12]\d{3}(?![\d,.]\d|\d)", _year),
    _rule(r"\d{3,}(?!\d|[.,]\d)", _code),
    _rule(rf"{_SIGN}(?P<n>{NUMBER})", _plain),
    _rule(rf"{_SIGN}\.(?P<n>\d+)", _point),
)
