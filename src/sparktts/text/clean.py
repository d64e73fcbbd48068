"""Characters in one form, lines joined, what cannot be spoken dropped and noted."""

from __future__ import annotations

import html
import re
import unicodedata

from .notes import Notes
from .spans import HAN, is_han
from .tracked import Tracked

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufff9-\ufffb]+")
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ue000-\uf8ff]+")
_COMBINED = re.compile(r"[^\W\d_][\u0300-\u036f]+")
# Forms for the eye only: full-width letters, ligatures, circled digits, squared units, Roman numerals.
_FORMS = re.compile(
    "[\uff02-\uff07\uff0a\uff0b\uff0d-\uff19\uff1c-\uff1e\uff20-\uff3a\uff3f\uff41-\uff5a\uff5e\ufb00-\ufb06"
    "\u2100-\u2121\u2123-\u214f\u2150-\u218b\u2460-\u24ff\u2070-\u209c\u00b9\u00bc-\u00be\u3300-\u33ff"
    "\u301c\U0001d400-\U0001d7ff]"
)
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_SPACES = re.compile(r"[^\S\n]+")
_PICTURE = (
    "[\u231a\u231b\u23e9-\u23fa\u25aa-\u25fe\u2600-\u27bf\u2b00-\u2bff\u3030\u303d\U0001f000-\U0001faff]"
    "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
)
_EMOJI = re.compile(f"{_PICTURE}(?:\u200d{_PICTURE})*\u200d?")
_EMOJI_PART = re.compile("[\ufe00-\ufe0f\u20e3\u200d\U000e0001-\U000e007f]+")
_DOUBLE = re.compile("[“”„‟«»＂]")
_SINGLE = re.compile("[‘’‚‛´ʼ]")
_NEAR_HAN = re.compile(f"[{HAN}，。！？；：、（）《》]")
_HYPHEN = re.compile("[\u2010\u2011\u2043\u2212\ufe63]")
_LONG_DASH = re.compile(r"[\u2012\u2013\u2014\u2015\u2e3a\u2e3b─]+|(?<![-\w])--+(?![-\w])|(?<=\w)---?(?=\w)|\s--+\s")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s?[\u2012\u2013\u2014]\s?(?=\d)")
_ELLIPSIS = re.compile(r"(?:\.{2,}|。{2,}|…+|・{2,}|(?:\.\s){2,}\.)")
_SHOUT = re.compile(r"[!！?？](?:\s?[!！?？])+")
_REPEATED = re.compile(r"([,，;；:：、。])(?:\s?\1)+")
_HALF_AFTER_HAN = re.compile(rf"(?<=[{HAN}])\s?([,;:?!](?!\w*://)|\.(?=\s|$|[{HAN}\"'”’]))")
_HALF_TO_FULL = {",": "，", ";": "；", ":": "：", "?": "？", "!": "！", ".": "。"}
_LINE = re.compile(r"[^\S\n]*\n\s*")
_LINE_ENDED = re.compile(r"[.!?。！？…,，;；:：、—-][\"'”’)）]*$")
_WRAPPED = 50  # columns from which a line without an end was wrapped rather than ended
_KEPT = ".,!?;:'\"()-—…%&+@#/$。，、；：？！“”‘’（）《》〈〉「」『』【】·="
_SILENT = "_*`|~^\\[]{}【】•·"  # dropped without a word
_HASHTAG = re.compile(r"(?<![^\W_])#(?=\s?[^\W_])|(?<![^\W_])#+(?!\w)")
_UNSPEAKABLE = re.compile(rf"[^\w\s{re.escape(_KEPT)}\ue000]|_")
_SPACE_BEFORE = re.compile(r"\s+(?=[,.;:!?，。；：！？、…](?:\s|$|[^\w.]))")
_SPACE_BESIDE = re.compile(r"(?<=[，。；：！？、（《“])\s+(?=\S)|\s+(?=[，。；：！？、）》”])")
_EMPTY_PAIR = re.compile(r"\(\s*\)|（\s*）|\[\s*\]|【\s*】|\"\s+\"|“\s*”|《\s*》")


def drop_controls(text: Tracked, notes: Notes) -> Tracked:
    """Without control characters and halves of surrogate pairs: those go even from verbatim text."""
    edits = [(match.start(), match.end(), "") for match in _CONTROL.finditer(text.text)]
    notes.controls += sum(end - start for start, end, _ in edits)
    return text.replaced(edits)


def decode_entities(text: Tracked) -> Tracked:
    """ "&amp;" -> "&"."""
    return text.sub(_ENTITY, lambda match: html.unescape(match.group()))


def unify(text: Tracked, notes: Notes) -> Tracked:
    """One form for letters, digits, spaces, quotes and dashes; nothing invisible, no emoji."""
    text = drop_controls(text, notes).sub(_INVISIBLE, "")
    text = text.sub(_COMBINED, lambda match: unicodedata.normalize("NFC", match.group()))
    text = text.sub(_FORMS, _plain_form)
    text = text.sub(_OTHER_DIGIT, lambda match: str(unicodedata.digit(match.group())))

    def drop_emoji(match: re.Match[str]) -> str:
        notes.emoji.append(match.group())
        return " "

    text = text.sub(_EMOJI, drop_emoji).sub(_EMOJI_PART, "")
    text = text.sub(_SPACES, " ").sub(_HYPHEN, "-").sub(_SINGLE, _single_quote)
    text = text.sub(_DOUBLE, _double_quote)
    return text.sub(_BETWEEN_DIGITS, "-").sub(_LONG_DASH, "—")


def join_lines(text: Tracked) -> Tracked:
    """One line: a wrapped line goes on, a short line that ends without punctuation gets a comma."""

    def join(match: re.Match[str]) -> str:
        line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()].rstrip()
        before, after = line[-1:], match.string[match.end() : match.end() + 1]
        if not before or not after:
            return " "
        both_han = is_han(before) and is_han(after)
        width = sum(2 if is_han(char) else 1 for char in line)
        if _LINE_ENDED.search(line) or not (before.isalnum() and after.isalnum()):
            return " "
        if width >= _WRAPPED:
            return "" if both_han else " "
        return "，" if is_han(before) else ", "

    return text.sub(_LINE, join)


def unify_punctuation(text: Tracked) -> Tracked:
    """Runs of marks as one; half-width marks after Chinese characters full-width."""
    text = text.sub(_ELLIPSIS, "…").sub(_SHOUT, _one_mark).sub(_REPEATED, lambda match: match[1])
    return text.sub(_HALF_AFTER_HAN, lambda match: _HALF_TO_FULL[match[1]])


def tidy(text: Tracked, notes: Notes) -> Tracked:
    """The last sweep: symbols without a reading dropped, spaces in their places."""

    def sweep(match: re.Match[str]) -> str | None:
        char = match.group()
        if unicodedata.category(char)[0] == "M":  # part of the letter before it
            return None
        if char not in _SILENT and char.isprintable():
            notes.symbols.append(char)
        return " "

    text = text.sub(_HASHTAG, "").sub(_UNSPEAKABLE, sweep).sub(_EMPTY_PAIR, " ").sub(_SPACES, " ")
    return text.sub(_SPACE_BEFORE, "").sub(_SPACE_BESIDE, "").strip()


def _plain_form(match: re.Match[str]) -> str | None:
    char = match.group()
    form = unicodedata.normalize("NFKC", char)
    if "\u2460" <= char <= "\u24ff":  # circled digits number the points of a list
        form = form.strip("().")
        near_han = _NEAR_HAN.search(match.string[max(0, match.start() - 1) : match.end() + 1])
        return (f"{form}、" if near_han else f" {form}, ") if form.isdigit() else form
    if "\u2044" in form:
        digit_before = match.start() and match.string[match.start() - 1].isdigit()
        return (" " if digit_before else "") + form.replace("\u2044", "/")
    return form if form != char else None


def _double_quote(match: re.Match[str]) -> str:
    near = match.string[max(0, match.start() - 1) : match.end() + 1]
    return match.group() if match.group() in "“”" and _NEAR_HAN.search(near) else '"'


def _single_quote(match: re.Match[str]) -> str:
    near = match.string[max(0, match.start() - 1) : match.end() + 1]
    return match.group() if match.group() in "‘’" and _NEAR_HAN.search(near) else "'"


def _one_mark(match: re.Match[str]) -> str:
    marks = match.group()
    if "?" in marks or "？" in marks:
        return "？" if marks[0] in "！？" else "?"
    return marks[0]
