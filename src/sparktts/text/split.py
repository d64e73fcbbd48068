"""Prepared text in utterances: at sentence ends, then at clauses, then by length, never inside a word."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ..types import Language
from .duration import estimate_seconds
from .exact import exact_spans
from .spans import HAN, dominant_language, is_han

SENTENCE_PAUSE, QUESTION_PAUSE, CLAUSE_PAUSE, FORCED_PAUSE = 0.35, 0.4, 0.18, 0.08
_SHORT = 1.2  # seconds: what is shorter joins a neighbour even past the target
_CLOSERS = "\"'”’』」）)》〉】]"
_SENTENCE = re.compile(
    rf"(?:[。！？!?]+|…(?=[\s{HAN}{re.escape(_CLOSERS)}]|$))[{re.escape(_CLOSERS)}]*|\.[{re.escape(_CLOSERS)}]*(?=\s|$)"
)
_CLAUSE = re.compile(rf"[，、；：][{re.escape(_CLOSERS)}]*|[,;:](?!\d)[{re.escape(_CLOSERS)}]*|—+")
_ABBREVIATED = re.compile(
    r"(?<![^\W\d_])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|Gen|Sen|Rep|Gov|Capt|Lt|Col|Sgt|Rev|Mt|"
    r"vs|etc|cf|No|Nos|pp|Fig|Vol|Ch|Inc|Ltd|Co|Corp|approx|Ph\.D)$"
)
_BACK = 12  # characters that an abbreviation is looked for in
_ENDED = re.compile(rf"[.,!?;:…。，、；：！？—][{re.escape(_CLOSERS)}]*$")
_WORD_CHAR = re.compile(r"[^\W_]|[\u0300-\u036f]")
_SPOKEN = re.compile(r"[^\W_]")
_ZH_NUMERAL = "零一二三四五六七八九十百千万亿点幺两"
_AFTER_PARTICLE = "的了着过吗呢吧啊"


@dataclass(frozen=True)
class Utterance:
    """What the model reads in one go.

    source: the user's text it came from; language: "zh" | "en", of most of it; pause: seconds of silence
    after it; seconds: estimated speech at the default rate;
    end: "sentence" | "clause" | "forced" | "paragraph" | "break".
    """

    text: str
    source: str
    language: Language
    pause: float
    seconds: float
    end: str


@dataclass(frozen=True)
class Span:
    """text[start:end] of a block, and the kind of place it ends at."""

    start: int
    end: int
    kind: str


def split_text(text: str, target: float, maximum: float, language: Language | None = None) -> list[Span]:
    """Spans that together hold every word, each at most `maximum` seconds unless it is one word."""
    spans = _whole(text)
    for places, kind in ((_sentence_ends, "sentence"), (_clause_ends, "clause"), (None, "forced")):
        finer: list[Span] = []
        for span in spans:
            if kind != "sentence" and _seconds(text, span, language) <= maximum:
                finer.append(span)
            elif places is None:
                finer += _by_length(text, span, maximum, language)
            else:
                finer += _cut(span, list(places(text[span.start : span.end])), kind)
        spans = finer
    return _merge(text, _with_speech(text, spans), target, maximum, language)


def span_pause(text: str, kind: str) -> float:
    """Seconds of silence after a text that ends at a place of this kind."""
    if kind == "clause":
        return CLAUSE_PAUSE
    if kind == "forced":
        return FORCED_PAUSE
    return QUESTION_PAUSE if re.search(r"[!?！？][^\w\s]*$", text) else SENTENCE_PAUSE


def finished(text: str, kind: str) -> str:
    """The text with a mark at its end: a full stop, or a comma where a sentence was cut."""
    if _ENDED.search(text):
        return text
    chinese = dominant_language(text) == "zh"
    if kind in ("forced", "clause"):
        return text + ("，" if chinese else ",")
    return text + ("。" if chinese else ".")


def split_utterance(utterance: Utterance, max_seconds: float) -> tuple[Utterance, ...]:
    """Two halves (more if a half still exceeds max_seconds), cut at a sentence or clause near the middle,
    else between words; an utterance of one word comes back as it is."""
    text = utterance.text
    cut = _middle(text)
    if cut is None:
        return (utterance,)
    at, kind = cut
    left = finished(text[:at].strip(), kind)
    right = text[at:].strip()
    sources = _halves(utterance.source, text[:at].strip(), right)
    halves = (
        _part(utterance, left, sources[0], span_pause(left, kind), kind),
        _part(utterance, right, sources[1], utterance.pause, utterance.end),
    )
    return tuple(
        piece
        for half in halves
        for piece in (split_utterance(half, max_seconds) if half.seconds > max_seconds else (half,))
    )


def _part(whole: Utterance, text: str, source: str, pause: float, end: str) -> Utterance:
    language = dominant_language(text, whole.language)
    return Utterance(text, source, language, pause, estimate_seconds(text), end)


def _halves(source: str, left: str, right: str) -> tuple[str, str]:
    """The user's words of each half, if they stand in the source as in the text; else all of them."""
    at = source.find(left)
    if at >= 0:
        return source[: at + len(left)].strip(), source[at + len(left) :].strip() or source
    at = source.rfind(right)
    if at > 0:
        return source[:at].strip() or source, source[at:].strip()
    return source, source


def _whole(text: str) -> list[Span]:
    return [Span(0, len(text), "sentence")] if text else []


def _seconds(text: str, span: Span, language: Language | None) -> float:
    return estimate_seconds(text[span.start : span.end], language)


def _cut(span: Span, places: list[int], kind: str) -> list[Span]:
    pieces, start = [], span.start
    for place in places:
        at = span.start + place
        if start < at < span.end:
            pieces.append(Span(start, at, kind))
            start = at
    return [*pieces, Span(start, span.end, span.kind)]


def _uncut(places: Callable[[str], Iterator[int]]) -> Callable[[str], Iterator[int]]:
    """The places of a text that are not inside a word with exact phonemes."""

    def found(text: str) -> Iterator[int]:
        exact = exact_spans(text)
        return (at for at in places(text) if not any(start < at < end for start, end in exact))

    return found


@_uncut
def _sentence_ends(text: str) -> Iterator[int]:
    quotes = 0
    counted = 0
    for match in _SENTENCE.finditer(text):
        end = match.end()
        if (
            match.group().startswith(".")
            and _ABBREVIATED.search(text, max(0, match.start() - _BACK), match.start())
            and not _ends_anyway(text, match)
        ):
            continue
        quotes += text.count('"', counted, match.start())
        counted = match.start()
        marks = match.group()
        # An ASCII quote after the stop opens the next sentence when none is open before it.
        if '"' in marks and quotes % 2 == 0:
            end = match.start() + marks.index('"')
        yield end


def _ends_anyway(text: str, match: re.Match[str]) -> bool:
    """Whether a stop after a single letter ends a sentence all the same: "as am I. He", "in the U S. The"."""
    before = text[max(0, match.start() - 3) : match.start()]
    return re.search(r"[A-Z] [A-Z]$|\b[Ixyz]$", before) is not None


@_uncut
def _clause_ends(text: str) -> Iterator[int]:
    for match in _CLAUSE.finditer(text):
        yield match.end()


def sentence_ends(text: str) -> Iterator[int]:
    """Places after the sentences of a text."""
    return _sentence_ends(text)


def clause_ends(text: str) -> Iterator[int]:
    """Places after the clauses of a text."""
    return _clause_ends(text)


@_uncut
def _borders(text: str) -> Iterator[int]:
    """Places between words: not inside a Latin word or a number, nor before punctuation."""
    return (at for at in range(1, len(text)) if _is_border(text, at))


def _is_border(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    if before.isspace():
        return not after.isspace()
    if after.isspace() or not (_WORD_CHAR.match(after) or after in "(（《“「『〈"):
        return False
    if not _WORD_CHAR.match(before):
        return before in "，、；：。！？…—）》”」』〉" or (before in ",;:" and not after.isdigit())
    if before in _ZH_NUMERAL and after in _ZH_NUMERAL:
        return False
    return is_han(before) or is_han(after) or (_kana(before) and _kana(after))


def _kana(char: str) -> bool:
    return "\u3041" <= char <= "\u30ff"


def _by_length(text: str, span: Span, maximum: float, language: Language | None) -> list[Span]:
    """Even pieces of at most `maximum` seconds, cut between words, after a particle or space if near."""
    piece = text[span.start : span.end]
    borders = _borders(piece)
    edges = [0, *borders, len(piece)]
    lengths = [estimate_seconds(piece[a:b], language) + _inner_pause(piece[a:b]) for a, b in pairwise(edges)]
    total = [0.0, *accumulate(lengths)]
    places: list[int] = []
    start = 0
    while total[-1] - total[start] > maximum:
        parts = int((total[-1] - total[start]) // maximum) + 1
        goal = total[start] + min(maximum, (total[-1] - total[start]) / parts * 1.02)
        last = max(start + 1, bisect_right(total, goal) - 1)
        if last >= len(edges) - 1:
            break
        last = _better(piece, edges, start, last)
        places.append(edges[last])
        start = last
    return _cut(span, places, "forced")


def _inner_pause(word: str) -> float:
    """Seconds for punctuation at the end of a word, which its own estimate leaves out."""
    return 0.25 if re.search(r"[^\w\s]\s*$", word) else 0.0


def _better(piece: str, edges: list[int], start: int, last: int) -> int:
    """A border a little earlier that falls after a particle, a space or at a change of script."""
    for at in range(last, max(start, last - 6), -1):
        before, after = piece[edges[at] - 1], piece[edges[at]]
        if before in _AFTER_PARTICLE or before.isspace() or is_han(before) != is_han(after):
            return at
    return last


def _with_speech(text: str, spans: list[Span]) -> list[Span]:
    """Spans without a letter or digit joined to the one before, at the start to the one after."""
    joined: list[Span] = []
    carried: int | None = None
    for span in spans:
        if not _SPOKEN.search(text, span.start, span.end):
            if joined:
                joined[-1] = Span(joined[-1].start, span.end, span.kind)
            elif carried is None:
                carried = span.start
            continue
        joined.append(Span(span.start if carried is None else carried, span.end, span.kind))
        carried = None
    return joined


def _merge(text: str, spans: list[Span], target: float, maximum: float, language: Language | None) -> list[Span]:
    """Neighbours joined while they stay within the target; a very short one joins up to the maximum."""
    merged: list[Span] = []
    lengths: list[float] = []
    for span in spans:
        seconds = _seconds(text, span, language)
        if merged:
            both = Span(merged[-1].start, span.end, span.kind)
            limit = maximum if min(seconds, lengths[-1]) < _SHORT else target
            if lengths[-1] + seconds <= limit + 1 and (together := _seconds(text, both, language)) <= limit:
                merged[-1], lengths[-1] = both, together
                continue
        merged.append(span)
        lengths.append(seconds)
    return merged


def _middle(text: str) -> tuple[int, str] | None:
    """The best place to halve a text: (offset, kind)."""
    whole = estimate_seconds(text)
    kinds: tuple[tuple[str, Callable[[str], Iterator[int]]], ...] = (
        ("sentence", _sentence_ends),
        ("clause", _clause_ends),
        ("forced", _borders),
    )
    for kind, places in kinds:
        near = [at for at in places(text) if _SPOKEN.search(text[:at]) and _SPOKEN.search(text[at:])]
        if not near:
            continue
        best = min(near, key=lambda at: abs(estimate_seconds(text[:at]) - whole / 2))
        share = estimate_seconds(text[:best]) / whole if whole else 0.5
        if kind == "forced" or 0.2 <= share <= 0.8:
            return best, kind
    return None
