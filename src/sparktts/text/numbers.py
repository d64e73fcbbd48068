"""Numbers in words: the few readers that the rules need where the general grammar reads them wrong."""

from __future__ import annotations

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ZH_DIGITS = "零一二三四五六七八九"
_ZH_UNITS = ("", "十", "百", "千")
_ZH_SCALES = ("", "万", "亿", "万亿")
EN_LIMIT = 10**15
ZH_LIMIT = 10**13


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds] + " hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10] + (" " + _ONES[rest % 10] if rest % 10 else ""))
    elif rest or not words:
        words.append(_ONES[rest])
    return " ".join(words)


def en_cardinal(number: int) -> str:
    """0 <= number; from 10**15 on, digit by digit."""
    if number >= EN_LIMIT:
        return en_digits(str(number))
    groups = []
    rest, scale = number, 0
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            groups.append(_below_thousand(group) + _SCALES[scale])
        scale += 1
    return " ".join(reversed(groups)) or "zero"


def en_ordinal(number: int) -> str:
    """21 -> "twenty first"."""
    *head, last = en_cardinal(number).split()
    ending = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*head, ending])


def en_digits(digits: str) -> str:
    """Digit by digit: "05" -> "zero five"."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def en_number(written: str) -> str:
    """A written number: "1,234.50" -> "one thousand two hundred thirty four point five zero"."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        spoken = en_digits(whole)
    else:
        spoken = en_cardinal(int(whole or "0"))
    return f"{spoken} point {en_digits(fraction)}" if fraction else spoken


def en_year(year: int) -> str:
    """1999 -> "nineteen ninety nine", 1905 -> "nineteen oh five", 2005 -> "two thousand five"."""
    century, rest = divmod(year, 100)
    if year < 1000 or (century % 10 == 0 and rest < 10):
        return en_cardinal(year)
    if rest == 0:
        return _below_thousand(century) + " hundred"
    return f"{_below_thousand(century)} {'oh ' if rest < 10 else ''}{_below_thousand(rest)}"


def zh_cardinal(number: int) -> str:
    """0 <= number, with 二 throughout, as ordinals want: 1002 -> 一千零二; from 10**13 on by digit."""
    if number >= ZH_LIMIT:
        return zh_digits(str(number))
    if number == 0:
        return "零"
    spoken = ""
    for scale in range(3, -1, -1):
        group = number // 10 ** (4 * scale) % 10000
        if not group:
            continue
        if spoken and (group < 1000 or number // 10 ** (4 * scale + 4) % 10000 == 0):
            spoken += "零"
        spoken += _zh_group(group) + _ZH_SCALES[scale]
    return spoken[1:] if spoken.startswith("一十") else spoken


def _zh_group(group: int) -> str:
    spoken, gap = "", False
    for place in (3, 2, 1, 0):
        digit = group // 10**place % 10
        if digit:
            spoken += ("零" if gap and spoken else "") + _ZH_DIGITS[digit] + _ZH_UNITS[place]
        gap = not digit
    return spoken


def zh_digits(digits: str, one: str = "一") -> str:
    """Digit by digit; telephone numbers say 幺 for one."""
    return "".join(one if digit == "1" else _ZH_DIGITS[int(digit)] for digit in digits)


def zh_number(written: str) -> str:
    """A written number: "1,234.50" -> 一千二百三十四点五零."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > 13 or (len(whole) > 1 and whole.startswith("0")):
        spoken = zh_digits(whole)
    else:
        spoken = zh_cardinal(int(whole or "0"))
    return f"{spoken}点{zh_digits(fraction)}" if fraction else spoken
