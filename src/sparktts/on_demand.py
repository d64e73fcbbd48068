"""Text on demand: the model gets the word after the next while it speaks, and asks for it by itself.

    content(word 0, word 1) ... semantic_token(word 0) <|start_content|> word 2 <|end_content|> semantics of word 1
    <|start_content|> word 3 <|end_content|> ... semantics of the last word <|im_end|>

A request is `<|start_content|>`, sampled among the semantic ids at the end of each word but the last. Its answer is
the word after the next and `<|end_content|>`, or `<|end_content|>` alone once no word is left: forced ids.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, pairwise

from .engine.base import IdSet
from .errors import InvalidTokens, TextError
from .grammar import Choose, Force, SpeechGrammar
from .text.spans import HAN, is_han

AHEAD = 2  # words that the model knows when it begins
# Semantic tokens (20 ms) a word may take: from half a token a phoneme to slow speech with a pause and a breath.
LEAST_PER_PHONEME = 0.5
MOST_PER_PHONEME = 15
MOST_PAUSE = 60
PHONEMES_OF_A_CHARACTER = 3
_NO_PHONEME = "ˈˌːʰ↗↘→↓"

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Bounds:
    """How many semantic tokens one word may take: `least` before the next request, never more than `most`."""

    least: int
    most: int


def word_bounds(word: str, pace: float = 1.0) -> Bounds:
    """Bounds of a word in phonemes or letters, from how many it has; its punctuation may become a pause.

    pace: how long speech is expected to take, relative to the usual; it widens the bounds, and never narrows them.
    """
    count = sum(PHONEMES_OF_A_CHARACTER if is_han(char) else _is_phoneme(char) for char in word)
    least, most = LEAST_PER_PHONEME * min(pace, 1) * count, MOST_PER_PHONEME * max(pace, 1) * max(1, count)
    return Bounds(max(1, int(least)), int(most) + MOST_PAUSE)


def _is_phoneme(char: str) -> bool:
    return char not in _NO_PHONEME and unicodedata.category(char)[0] in "LN"


def opening(words: Sequence[str]) -> str:
    """What the prompt's content block holds."""
    return " ".join(words[:AHEAD])


@dataclass(frozen=True)
class Marks:
    """The ids that make a request and its answer, and the id that ends the last word."""

    ask: int
    answered: int
    stop: int


def on_demand_layout(
    words: Sequence[Sequence[int]], word_ends: Sequence[int], semantic: Sequence[int], marks: Marks, first: int = 0
) -> list[tuple[list[int], bool]]:
    """The stream of semantic ids with its requests and answers, in pieces of (ids, whether the model says them).

    words: ids of every word of the sequence; word_ends: for the words from `first` on that are spoken in this stream,
    the number of these semantic tokens at which each ends; semantic: (T,) ids. After each word but the very last of
    the sequence comes its request. Raises InvalidTokens for ends that are not in order or outside.
    """
    if any(a > b for a, b in pairwise((0, *word_ends, len(semantic)))):
        raise InvalidTokens(f"The ends of words must rise from 0 to {len(semantic)} tokens.")
    if first + len(word_ends) > len(words):
        raise InvalidTokens(f"There are {first + len(word_ends)} ends of words for {len(words)} words.")
    pieces: list[tuple[list[int], bool]] = []
    done = 0
    for index, end in enumerate(word_ends, start=first):
        if index == len(words) - 1:
            break
        pieces.append(([*semantic[done:end], marks.ask], True))
        pieces.append((answer(words, index, marks), False))
        done = end
    pieces.append(([*semantic[done:]], True))
    return pieces


def answer(words: Sequence[Sequence[int]], finished: int, marks: Marks) -> list[int]:
    """Ids that answer the request made after word `finished`."""
    coming = finished + AHEAD
    return [*(words[coming] if coming < len(words) else ()), marks.answered]


@dataclass
class OnDemandGrammar(SpeechGrammar):
    """The grammar of a sequence that asks for its words.

    The last step is the speech itself: semantic ids, requests, and the stop after the last word. Words may arrive
    while it runs: `append_words`, then `close`. A request whose answer is not known yet makes it `waiting`; engines
    then leave the sequence alone, and ask for `forced()` again later.
    word_ends: semantic tokens spoken when each word ended, of this sequence's own speech, the last one at the stop.
    """

    marks: Marks = Marks(0, 0, 0)
    encode: Encode = field(default=lambda word: (), repr=False)
    words: list[str] = field(default_factory=list)
    closed: bool = False
    pace: float = 1.0
    spoken: int = 0  # words that the prompt speaks already
    asked: int = 0  # requests made, those of the prompt included; so also the number of the word being spoken
    word_ends: list[int] = field(default_factory=list)
    _owed: bool = False
    _spoken: int = 0
    _bounds: Bounds | None = None

    @property
    def waiting(self) -> bool:
        """True while a request cannot be answered: the word is not known, and the text has not ended."""
        return self._owed and not self.closed and self.asked + 1 >= len(self.words)

    def append_words(self, words: Iterable[str]) -> None:
        """More of the text, while it is being spoken. Raises TextError once the text was closed."""
        if self.closed:
            raise TextError("The text was closed: no words can follow.")
        self.words += words

    def close(self) -> None:
        """The words so far are the whole text."""
        self.closed = True

    @property
    def own_words(self) -> int:
        """Words to be spoken by this sequence, as far as they are known."""
        return len(self.words) - self.spoken

    def words_by(self, tokens: int) -> int:
        """How many of its own words have ended when so many of its tokens are spoken."""
        return sum(end <= tokens for end in self.word_ends)

    def forced(self) -> tuple[int, ...]:
        """Ids to feed before the next choice: also the answer to a request, once it is known."""
        if not self._owed:
            return super().forced()
        if self.waiting:
            return ()
        self._owed = False
        coming = self.asked + AHEAD - 1  # the request itself was counted
        word = self.encode(self.words[coming]) if coming < len(self.words) else ()
        return (*word, self.marks.answered)

    def legal(self) -> IdSet:
        """Ids among which the next one is sampled: while speaking, as the word's bounds allow."""
        choice = self._choice()
        if not self._speaking(choice):
            return super().legal()
        if self._bounds is None:
            self._bounds = word_bounds(self.words[self.asked], self.pace)
        more, enough = self._taken < self._bounds.most, self._taken >= self._bounds.least
        end = self.marks.stop if self._last else self.marks.ask
        return _legal_ids(choice.family.span if more else None, (end, end + 1) if enough else None)

    def accept(self, token: int) -> None:
        """Moves on by one sampled id. Raises InvalidTokens when it is not legal."""
        choice = self._choice()
        if not self._speaking(choice):
            super().accept(token)
            return
        if token in (self.marks.ask, self.marks.stop) and token in self.legal():
            self.word_ends.append(self._spoken)
            self._enter(self._at + (token == self.marks.stop))
            self._bounds = None
            if token == self.marks.ask:
                self.asked += 1
                self._owed = True
            return
        super().accept(token)
        self._spoken += 1

    @property
    def _last(self) -> bool:
        """Whether the word being spoken is the last: known by then, as its answer ended the text."""
        return self.closed and self.asked == len(self.words) - 1

    def _choice(self) -> Choose:
        if self._owed:
            raise InvalidTokens("The token grammar expects no id here: feed the answer to the request first.")
        return super()._choice()

    def _speaking(self, choice: Choose) -> bool:
        return choice.stop is not None


@cache
def _legal_ids(*ranges: tuple[int, int] | None) -> IdSet:
    """Those of the ranges that are there. For each token, of few different ones."""
    return IdSet(tuple(sorted(span for span in ranges if span)))


def on_demand_grammar(
    steps: tuple[Force | Choose, ...],
    words: Sequence[str],
    spoken: int,
    closed: bool,
    marks: Marks,
    encode: Encode,
    pace: float = 1.0,
) -> OnDemandGrammar:
    """The grammar that goes on after `spoken` words of the prompt. Raises TextError without enough words to begin."""
    if len(words) <= spoken:
        raise TextError("There are no words to speak.")
    if not closed and len(words) < spoken + AHEAD:
        raise TextError(f"Speech begins when {AHEAD} words are known, or the text has ended.")
    return OnDemandGrammar(
        steps, marks=marks, encode=encode, words=list(words), closed=closed, pace=pace, spoken=spoken, asked=spoken
    )


def word_ends(times: Sequence[tuple[float, float]], tokens: int, rate: float = 50.0) -> list[int]:
    """Semantic tokens at which words end: rising, the last one at the end of the clip.

    times: (start, end) of each word in seconds; tokens: of the clip, `rate` a second. A pause belongs to the word
    before it: a word ends where the next one starts.
    """
    starts = (min(max(round(start * rate), 0), tokens) for start, _ in times[1:])
    return list(accumulate((*starts, tokens), max))


_PLAIN_WORD = re.compile(rf"[^\w\s]*(?:[{HAN}]|[^\W{HAN}]+(?:[^\w\s]+[^\W{HAN}]+)*)[^\w\s]*")


def plain_words(text: str) -> tuple[str, ...]:
    """Words of a text that is not in phonemes: between spaces, and Chinese characters one by one, with their marks."""
    return tuple(_PLAIN_WORD.findall(text))
