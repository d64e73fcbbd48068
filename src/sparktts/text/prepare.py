"""From the text a user wrote to the utterances a model reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from ..errors import OptionError, TextError
from ..types import Language
from .clean import decode_entities, drop_controls, join_lines, tidy, unify, unify_punctuation
from .duration import estimate_seconds
from .lexicon import apply_lexicon
from .links import read_links
from .markdown import drop_marks
from .markup import MAX_BREAK, Block, parse_markup
from .normalize import normalize
from .notes import Notes
from .spans import dominant_language
from .split import Utterance, finished, sentence_ends, span_pause, split_text
from .tracked import Tracked

MAX_CHARACTERS = 500_000
MOST_PAUSES = 5.0
_SPEAKABLE = re.compile(r"[^\W_]")
_MIN_SECONDS = 1.0
_LONG_BLOCK = 4000  # characters without a blank line that are prepared at a time


@dataclass(frozen=True)
class TextOptions:
    """How a text is prepared.

    normalize: numbers, dates, symbols ... in words; language: "zh" or "en" for all of them, None for
    the language of the words around; lexicon: word -> what to say;
    target_seconds, max_seconds: length of an utterance; pauses: factor of all silences between them.
    Raises OptionError.
    """

    normalize: bool = True
    language: Language | None = None
    lexicon: Mapping[str, str] = field(default_factory=dict)
    target_seconds: float = 8.0
    max_seconds: float = 12.0
    pauses: float = 1.0

    def __post_init__(self) -> None:
        if self.language not in (None, "zh", "en"):
            raise OptionError(f"The language is zh, en or None for automatic, not {self.language!r}.")
        numbers = (
            ("target_seconds", self.target_seconds),
            ("max_seconds", self.max_seconds),
            ("pauses", self.pauses),
        )
        for name, value in numbers:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise OptionError(f"{name} is a number, not {value!r}.")
        if not 0 <= self.pauses <= MOST_PAUSES:
            raise OptionError(f"pauses is a factor from 0 to {MOST_PAUSES:g}, not {self.pauses:g}.")
        if not _MIN_SECONDS <= self.max_seconds <= 60:
            raise OptionError(f"max_seconds is between {_MIN_SECONDS:g} and 60, not {self.max_seconds:g}.")
        if not 0 < self.target_seconds <= self.max_seconds:
            raise OptionError(
                f"target_seconds is above 0 and at most max_seconds ({self.max_seconds:g}), "
                f"not {self.target_seconds:g}."
            )
        if not isinstance(self.lexicon, Mapping):
            raise OptionError("The lexicon is a mapping from words to what is said instead of them.")
        for word, reading in self.lexicon.items():
            if not isinstance(word, str) or not isinstance(reading, str) or not word.strip():
                raise OptionError(f"The lexicon maps words to text, not {word!r} to {reading!r}.")


@dataclass(frozen=True)
class PreparedText:
    """utterances in order; notes: what was dropped or read in an unusual way, as sentences for a person."""

    utterances: tuple[Utterance, ...]
    notes: tuple[str, ...]


class Preparation:
    """The utterances of a text, each prepared when it is asked for: speech may begin before a book is read through.

    Raises TextError as `prepare` does, at once for a text that is too long, else when the text turns out to be silent.
    default: language of numbers where nothing around them tells; None: that of most of the text.
    """

    def __init__(
        self, text: str, options: TextOptions = TextOptions(), default: Language | None = None, follows: bool = False
    ) -> None:
        """follows: more of the text will come, so the last utterance keeps its pause."""
        if not isinstance(text, str):
            raise TextError(f"The text is a {type(text).__name__}, not a string.")
        if len(text) > MAX_CHARACTERS:
            raise TextError(
                f"The text has {len(text)} characters, more than the {MAX_CHARACTERS} allowed at once; "
                "split it into several texts."
            )
        self._text, self._options, self._follows = text, options, follows
        self._default = options.language or default or dominant_language(text)
        self._notes = Notes()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was dropped or read in an unusual way so far."""
        return self._notes.sentences()

    def __iter__(self) -> Iterator[Utterance]:
        factor = self._options.pauses
        return (u if factor == 1.0 else replace(u, pause=u.pause * factor) for u in self._all())

    def _all(self) -> Iterator[Utterance]:
        notes = self._notes
        blocks = parse_markup(drop_controls(Tracked.of(self._text), notes), notes)
        held: Utterance | None = None  # the last one, until what follows it is known
        waiting = 0.0
        for block in chain.from_iterable(map(_parts, blocks)):
            spoken = _utterances(self._text, block, self._options, self._default, notes)
            if not spoken:
                if held and block.pause:
                    held = _with_pause(held, block)
                elif block.end == "break":
                    waiting += block.pause
                continue
            if held:
                yield held
            yield from spoken[:-1]
            held = spoken[-1]
        if held is None:
            raise TextError(_why_silent(self._text))
        if waiting:
            notes.others.append("Left out the break before the first words.")
        if self._follows:
            yield held
            return
        if held.end == "break" and held.pause:
            notes.others.append("Left out the break after the last words.")
        yield Utterance(held.text, held.source, held.language, 0.0, held.seconds, held.end)


def prepare(text: str, options: TextOptions = TextOptions()) -> PreparedText:
    """Markup taken out, characters cleaned, numbers read, and the whole cut into utterances.

    Raises TextError when nothing in the text can be spoken, or when it is longer than MAX_CHARACTERS.
    """
    preparation = Preparation(text, options)
    return PreparedText(tuple(preparation), preparation.notes)


def _parts(block: Block) -> Iterator[Block]:
    """A very long block in several, cut at sentence ends, so that nobody waits until all of it is prepared."""
    text, start = block.text, 0
    if len(text) > 2 * _LONG_BLOCK:
        for at in sentence_ends(text.masked):
            if at - start >= _LONG_BLOCK and len(text) - at >= _LONG_BLOCK:
                yield Block(text[start:at], 0.0, "sentence")
                start = at
    yield Block(text[start:], block.pause, block.end)


def speakable(text: Tracked, options: TextOptions, default: Language, notes: Notes) -> Tracked:
    """One block in the words and marks that the model reads."""
    text = apply_lexicon(decode_entities(text), options.lexicon)
    text = unify(drop_marks(text, notes), notes)
    text = read_links(text, options.language, default, notes)
    text = unify_punctuation(join_lines(text))
    if options.normalize:
        text = normalize(text, options.language, default)
    return tidy(text, notes)


def _utterances(source: str, block: Block, options: TextOptions, default: Language, notes: Notes) -> list[Utterance]:
    read = speakable(block.text, options, default, notes)
    if not _SPEAKABLE.search(read.text):
        return []
    spans = split_text(read.text, options.target_seconds, options.max_seconds, options.language)
    made: list[Utterance] = []
    for index, span in enumerate(spans):
        piece = read.text[span.start : span.end]
        low, high = read.source(span.start, span.end)
        last = index == len(spans) - 1
        # A break may stand inside a sentence: a comma keeps the voice up.
        said = finished(piece.strip(), "clause" if last and block.end == "break" else span.kind)
        pause, end = span_pause(said, span.kind), span.kind
        if last and block.pause:
            pause, end = block.pause, block.end
        language = dominant_language(said, default)
        seconds = estimate_seconds(said, options.language)
        made.append(Utterance(said, source[low:high].strip(), language, pause, seconds, end))
    return made


def _with_pause(utterance: Utterance, block: Block) -> Utterance:
    """A pause of an empty block: breaks add up to the longest allowed, blank lines do not."""
    pause, end = utterance.pause, utterance.end
    if block.end == "break":
        pause, end = min(MAX_BREAK, (pause if end == "break" else 0.0) + block.pause), "break"
    elif end != "break":
        pause, end = max(pause, block.pause), "paragraph"
    return Utterance(utterance.text, utterance.source, utterance.language, pause, utterance.seconds, end)


def _why_silent(text: str) -> str:
    if not text.strip():
        return "The text is empty; give some words to speak."
    return "Nothing in the text can be spoken, only marks or emoji; give some words to speak."
