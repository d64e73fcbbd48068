"""How Chinese reads what the general grammar reads wrong: money, units, ranges, versions, ordinals.

Where a rule only has to put the words in order it leaves digits in its answer; the grammar reads those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from .numbers import zh_cardinal, zh_digits, zh_number
from .patterns import DASH, END, NUMBER, month_and_day, valid_date
from .phones import phone_at
from .spans import HAN
from .units import CURRENCIES, CURRENCY, UNIT, UNITS

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], "str | None"]]
_SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "billion": 10**9, "bn": 10**9}
_LONG = 12  # digits in a row that are an identifier, not a quantity


def read_chinese(text: str, start: int) -> tuple[str, int] | None:
    """The reading of the expression at `start` (digits in it are for the grammar), and where it ends."""
    phone = phone_at(text, start)
    if phone:
        spoken = "，".join(zh_digits(group, one="幺") for group in phone.groups)
        return ("加" if phone.plus else "") + spoken, phone.end
    for pattern, read in _RULES:
        match = pattern.match(text, start)
        if match and (spoken_or_none := read(match)):
            return spoken_or_none, match.end()
    return None


def _plain_number(written: str) -> str:
    """Digits for the grammar, which does not know very long numbers: those are read here."""
    number = written.replace(",", "")
    return number if len(number) <= 12 else zh_number(number)


def _trimmed(written: str) -> str:
    number = written.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def _date(year: str, month: int, day: int) -> str:
    return f"{zh_digits(year)}年{zh_cardinal(month)}月{zh_cardinal(day)}日"


def _iso_date(match: re.Match[str]) -> str | None:
    month, day = int(match["m"]), int(match["d"])
    return _date(match["y"], month, day) if valid_date(month, day) else None


def _slash_date(match: re.Match[str]) -> str | None:
    found = month_and_day(int(match["a"]), int(match["b"]))
    return _date(match["y"], *found) if found else None


def _clock(hour: int, minute: int, second: int | None) -> str:
    spoken = "两点" if hour == 2 else f"{zh_cardinal(hour)}点"
    if minute or second is not None:
        spoken += f"{'零' if minute < 10 else ''}{zh_cardinal(minute)}分" if minute else "零分"
    return spoken + (f"{'零' if second < 10 else ''}{zh_cardinal(second)}秒" if second else "")


def _time(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match["h"]), int(match["m"]), match["s"]
    if hour > 24 or minute > 59 or (second and int(second) > 59):
        return None
    noon = (match["noon"] or "").replace(".", "").replace(" ", "").lower()
    word = {"am": "上午", "pm": "下午"}.get(noon, "")
    return word + _clock(hour, minute, int(second) if second else None)


def _times(match: re.Match[str]) -> str | None:
    ends = [_CLOCK.fullmatch(part) for part in (match["from"], match["to"])]
    if any(int(end["h"]) > 24 or int(end["m"]) > 59 for end in ends if end):
        return None
    return "到".join(_clock(int(end["h"]), int(end["m"]), None) for end in ends if end)


def _power(match: re.Match[str]) -> str:
    return f"{zh_number(match['a'])}的{_sign(match['sign'])}{zh_number(match['b'])}次方"


def _hour_half(match: re.Match[str]) -> str:
    return "两点" if int(match["h"]) == 2 else f"{zh_cardinal(int(match['h']))}点"


def _money(match: re.Match[str]) -> str:
    name = CURRENCIES[match["currency"]][4]
    sign = "负" if match["sign"] else ""
    number, scale = _trimmed(match["n"]), (match["scale"] or "").strip()
    if scale.lower() in _SCALES:
        value = Decimal(number) * _SCALES[scale.lower()]
        number, scale = _in_ten_thousands(value), ""
    upper = f"到{_trimmed(match['n2'])}" if match["n2"] else ""
    return f"{sign}{number}{upper}{scale}{name}"


def _in_ten_thousands(value: Decimal) -> str:
    for step, word in ((10**8, "亿"), (10**4, "万")):
        if value >= step:
            return f"{(value / step).normalize():f}{word}"
    return f"{value.normalize():f}"


def _sign(mark: str | None) -> str:
    return {"+": "正"}.get(mark, "负") if mark else ""


def _percent(match: re.Match[str]) -> str:
    base = "百分之" if match["mark"] in "%％" else "千分之"
    upper = f"到{zh_number(match['n2'])}" if match["n2"] else ""
    return f"{_sign(match['sign'])}{base}{zh_number(match['n'])}{upper}"


def _quantity(match: re.Match[str]) -> str | None:
    unit = UNITS[match["unit"]][2]
    if match["gap"] and len(match["unit"]) == 1 and match["unit"] not in "mgLWVh°":
        return None
    number, sign = _plain_number(match["n"]), _sign(match["sign"])
    if match["unit"] in ("°C", "°F") and sign == "负":
        sign = "零下"
    if match["n2"]:
        number += f"到{_plain_number(match['n2'])}"
    if unit.startswith("每"):
        per, unit = unit[:2], unit[2:]
        if per == "每小":
            per, unit = "每小时", unit[1:]
        return f"{sign}{per}{number}{unit}"
    if unit.isascii():  # the grammar would read a letter after the digits as its own unit
        return f"{sign}{zh_number(number)}{unit}" if not match["n2"] else f"{sign}{number}{unit}"
    return f"{sign}{number}{unit}"


def _dotted(match: re.Match[str]) -> str:
    prefix = (match["v"] or "").strip()
    return prefix + "点".join(
        zh_digits(part) if len(part) > 2 else zh_number(part) for part in match["dotted"].split(".")
    )


def _version(match: re.Match[str]) -> str:
    return match["v"] + zh_number(match["n"])


def _range(match: re.Match[str]) -> str:
    return f"{_sign(match['sign'])}{_plain_number(match['a'])}到{_plain_number(match['b'])}{match['after']}"


def _year_range(match: re.Match[str]) -> str:
    return f"{zh_digits(match['a'])}到{zh_digits(match['b'])}"


def _chain(match: re.Match[str]) -> str:
    return "，".join(zh_digits(part) for part in match[0].split("-"))


def _ordinal(match: re.Match[str]) -> str:
    return "第" + zh_number(match["n"])


def _grouped(match: re.Match[str]) -> str:
    return _sign(match["sign"]) + _plain_number(match["n"]) + match["after"]


def _identifier(match: re.Match[str]) -> str | None:
    digits = match[0]
    if len(digits) > 13 or (len(digits) >= _LONG and not digits.endswith("0000")) or digits.startswith("00"):
        return zh_digits(digits)
    return None


def _code(match: re.Match[str]) -> str | None:
    """Three or more digits stuck to Latin letters are a name: "A380"."""
    before = match.string[match.start() - 1 : match.start()] if match.start() else ""
    return zh_digits(match[0]) if before.isascii() and before.isalpha() else None


def _rule(pattern: str, read: Callable[[re.Match[str]], str | None]) -> _Rule:
    return re.compile(pattern), read


_SIGN = r"(?P<sign>[-−+])?"
_AFTER = rf"(?P<after>\s?[{HAN}]{{0,2}})"  # what is counted decides 二 or 两
_NOON = r"(?P<noon>[aApP]\.?\s?[mM]\.?(?![A-Za-z]))"
_CLOCK = re.compile(r"(?P<h>\d{1,2})[:：](?P<m>\d{2})")
_RULES: tuple[_Rule, ...] = (
    _rule(r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + END, _iso_date),
    _rule(r"(?P<a>\d{1,2})([-/.])(?P<b>\d{1,2})\2(?P<y>\d{4})" + END, _slash_date),
    _rule(rf"(?P<from>\d{{1,2}}[:：]\d{{2}}){DASH}(?P<to>\d{{1,2}}[:：]\d{{2}})(?![\d:：])", _times),
    _rule(rf"(?P<a>{NUMBER})\^(?P<sign>[-−])?(?P<b>\d+)", _power),
    _rule(rf"(?P<h>\d{{1,2}})[:：](?P<m>\d{{2}})(?:[:：](?P<s>\d{{2}}))?(?![\d:：])(?:\s?{_NOON})?", _time),
    _rule(r"(?P<h>\d{1,2})点", _hour_half),
    _rule(r"2(?=\s?(?:年(?!级)|[天次倍岁周块]|分钟|小时))", lambda match: "两"),
    _rule(
        rf"(?P<sign>[-−])?(?P<currency>{CURRENCY})\s?(?P<n>{NUMBER})(?:{DASH}(?P<n2>{NUMBER}))?"
        r"(?P<scale>\s?(?:thousand|million|billion)\b|(?:k|K|bn|[mM])\b|[万亿千百]+)?",
        _money,
    ),
    _rule(rf"{_SIGN}(?P<n>{NUMBER})(?:%?{DASH}(?P<n2>{NUMBER}))?\s?(?P<mark>[%％‰])", _percent),
    _rule(r"(?P<v>[vV])?(?P<dotted>\d+(?:\.\d+){2,})", _dotted),
    _rule(rf"(?P<v>[vV])(?P<n>{NUMBER})", _version),
    _rule(
        rf"{_SIGN}(?P<n>{NUMBER})(?:(?:{UNIT})?{DASH}(?P<n2>{NUMBER}))?(?P<gap>\s)?(?P<unit>{UNIT})",
        _quantity,
    ),
    _rule(rf"第\s?(?P<n>{NUMBER})(?![-–—~～/]\d)", _ordinal),
    _rule(r"(?P<a>[12]\d{3})[-–—~～至](?P<b>[12]\d{3})(?=年|[^\d.-]|$)", _year_range),
    _rule(r"\d+(?:-\d+){2,}(?!\d)", _chain),
    _rule(rf"{_SIGN}(?P<a>{NUMBER})[-–—~～](?P<b>{NUMBER})(?!\s?[=＝])(?![\d/:：]|\.\d){_AFTER}", _range),
    _rule(r"\d+(?!\d|[.,]\d)", _identifier),
    _rule(r"\d{3,}(?!\d|[.,]\d)", _code),
    _rule(rf"{_SIGN}(?P<n>\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?){_AFTER}", _grouped),
)
