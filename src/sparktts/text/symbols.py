"""Symbols between words, read or dropped, once the numbers are words."""

from __future__ import annotations

import re

from ..types import Language
from .spans import HAN, language_at
from .tracked import Tracked

_ANY = r"&|@|%|=|＝|±|×|÷|≈|≠|≤|≥|≡|∞|√|°C|°F|°|²|³|№|[$€£¥￥₩₹](?!\w)"
_SYMBOL = re.compile(rf"\s?(?:{_ANY}|(?<=\s)[+<>](?=\s))\s?")
_READINGS: dict[str, tuple[str, str]] = {
    "&": ("and", "和"),
    "@": ("at", " at "),
    "%": ("percent", "百分号"),
    "=": ("equals", "等于"),
    "＝": ("equals", "等于"),
    "+": ("plus", "加"),
    "<": ("less than", "小于"),
    ">": ("greater than", "大于"),
    "±": ("plus or minus", "正负"),
    "×": ("times", "乘"),
    "÷": ("divided by", "除以"),
    "≈": ("approximately", "约等于"),
    "≠": ("not equal to", "不等于"),
    "≤": ("at most", "小于等于"),
    "≥": ("at least", "大于等于"),
    "≡": ("equivalent to", "恒等于"),
    "∞": ("infinity", "无穷大"),
    "√": ("root", "根号"),
    "°C": ("degrees Celsius", "摄氏度"),
    "°F": ("degrees Fahrenheit", "华氏度"),
    "°": ("degrees", "度"),
    "²": ("squared", "平方"),
    "³": ("cubed", "立方"),
    "№": ("number", "号"),
    "$": ("dollar", "美元"),
    "€": ("euro", "欧元"),
    "£": ("pound", "英镑"),
    "¥": ("yuan", "元"),
    "￥": ("yuan", "元"),
    "₩": ("won", "韩元"),
    "₹": ("rupee", "卢比"),
}
_LATIN = rf"[^\W\d_{HAN}]"
_SLASH_LATIN = re.compile(rf"(?<={_LATIN})\s?/\s?(?={_LATIN})")
_SLASH_HAN = re.compile(rf"(?<=[{HAN}])\s?/\s?(?=[{HAN}])")
_AMPERSAND_HAN = re.compile(rf"(?<=[{HAN}])\s?&\s?(?=[{HAN}])")


def read_symbols(text: Tracked, language: Language | None, default: Language) -> Tracked:
    """ "R&D" -> "R and D", "x ≥ y" -> "x at least y", "他/她" -> "他、她"; "C++" and "C#" stay."""
    text = text.sub(_AMPERSAND_HAN, "和")
    text = text.sub(_SLASH_LATIN, " ").sub(_SLASH_HAN, "、")

    def read(match: re.Match[str]) -> str:
        spoken_in = language or language_at(text.text, match.start(), match.end(), default)
        symbol = match.group().strip()
        if spoken_in == "zh":
            return _READINGS[symbol][1] if symbol != "&" else " and "
        return f" {_READINGS[symbol][0]} "

    return text.sub(_SYMBOL, read)
