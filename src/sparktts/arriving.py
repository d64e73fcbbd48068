"""Text that is still arriving, such as that of a chat model: cut where it can be spoken.

A thread takes the pieces; the thread that runs the language model asks for what has become complete meanwhile.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from .errors import TextError
from .frontend import Frontend
from .longform import Growing
from .on_demand import AHEAD
from .text import Preparation, TextOptions, Utterance, estimate_seconds
from .text.spans import HAN, dominant_language
from .text.split import CLAUSE_PAUSE, FORCED_PAUSE, clause_ends, sentence_ends
from .types import Language

SHORTEST_CLAUSE = 1.2  # seconds: a shorter beginning of a sentence is not spoken alone
LONGEST_BUFFER = 1000  # characters without an end of a sentence or clause
_AT_ONCE = 4000  # characters that are prepared together, however much has come
_PREPARED = 3  # utterances that are prepared before they are asked for
_ENOUGH_FOR_LANGUAGE = 400  # characters that decide in which language numbers are read
_OPEN = re.compile(
    r"<[A-Za-z/!][^<>]{0,200}$|\[[^\[\]\n]{0,200}$|\]\([^()\n]{0,300}$|<verbatim>(?:(?!</verbatim>).)*$", re.S | re.I
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_OWN_LINE = re.compile(r"^[^\S\n]*(?:#{1,6}|[-*+•]|\d{1,3}[.)])[^\S\n]+[^\n]+\n", re.M)
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}[.)]\s*$")
_MARK = re.compile(r"[。！？，、；：][\"'”’』」）)》〉】\]]*$")
_PLAIN_BORDER = re.compile(r"(?<![^\s])[A-Za-z]+(?:['’][a-z]+)?\s+(?=[a-z]+(?:['’][a-z]+)?(?:[\s,;:.!?]|$))")
_SPACE = re.compile(rf"\s+(?=\S)|(?<=[{HAN}])(?=[{HAN}])")
_MARKED = re.compile(r"[^\w\s]\s*$")


class ArrivingText:
    """A source (see `longform.Source`) of the utterances of a text that arrives in pieces.

    Whoever is ready to speak gets all whole sentences that are there, or else the clauses of the one that has begun.
    For a model that asks for its words an utterance is given while it still grows, word by word.
    """

    def __init__(self, pieces: Iterable[str], options: TextOptions, frontend: Frontend) -> None:
        self._pieces, self._options, self._frontend = pieces, options, frontend
        self._changed = threading.Condition()
        self._started = self._ended = self._closed = self._spoken = False
        self._news = False  # whether something came since `advance`
        self._error: BaseException | None = None
        self._silent = TextError("The text is empty; give some words to speak.")
        self._text = ""  # not prepared yet
        self._seen = ""  # the beginning of the whole text
        self._ready: deque[Utterance | _GrowingUtterance] = deque()
        self._growing: _GrowingUtterance | None = None
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was dropped or read in an unusual way so far, as sentences."""
        return tuple(self._notes)

    def next(self) -> Utterance | Growing | None:
        """The next one; None if none can be spoken yet. Raises StopIteration at the end, and what the pieces do."""
        with self._changed:
            self._start()
            self.advance()
            if self._ready and (given := self._ready[0]):
                if isinstance(given, Utterance) or given.closed:
                    self._ready.popleft()
                    return given if isinstance(given, Utterance) else given.utterance
                if given.can_begin(self._frontend):
                    return self._ready.popleft()
                return None
            if self._error is not None:
                raise self._error
            if not self._ended:
                return None
            if not self._spoken:
                raise self._silent
            raise StopIteration

    def wait(self, idle: bool) -> None:
        """Returns when more of the text has come, or it has ended."""
        with self._changed:
            self._start()
            self._changed.wait_for(lambda: self._news or self._closed)

    def close(self) -> None:
        """No more of the text is wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def advance(self) -> None:
        """Prepares what has become complete."""
        self._news = False
        on_demand = self._frontend.on_demand
        while len(self._ready) < (_PREPARED if on_demand else 1):
            head, whole = self._text[:_AT_ONCE], self._ended and len(self._text) <= _AT_ONCE
            cut = _word_cut(head, whole) if on_demand else _cut(head, whole)
            if cut is None:
                break
            piece, self._text = self._text[: cut.at], self._text[cut.at :]
            utterances = self._prepared(piece, cut.kind)
            self._grow(utterances, cut.kind) if on_demand else self._ready.extend(utterances)
        if self._ended and not self._text and self._growing:
            self._growing.close()
            self._growing = None

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._take, name="sparktts-text", daemon=True).start()

    def _take(self) -> None:
        """The thread that takes the pieces."""
        error: BaseException | None = None
        pieces = iter(self._pieces)
        try:
            for piece in pieces:
                if not isinstance(piece, str):
                    raise TextError(f"A piece of the text is a {type(piece).__name__}, not a string.")
                with self._changed:
                    if self._closed:
                        self._let_go(pieces)
                        return
                    self._text, self._news = self._text + piece, True
                    self._seen = (self._seen + piece)[:_ENOUGH_FOR_LANGUAGE]
                    self._changed.notify_all()
        except BaseException as problem:
            error = problem
        with self._changed:
            self._error, self._ended, self._news = error, True, True
            self._changed.notify_all()

    def _let_go(self, pieces: Iterator[str]) -> None:
        """Whoever makes the pieces, if that is a generator, learns that no more are wanted."""
        if isinstance(pieces, Generator):
            pieces.close()

    def _prepared(self, piece: str, kind: str) -> list[Utterance]:
        """A piece in utterances; the last one has the pause that its end calls for."""
        if kind in ("forced", "word") and not _MARKED.search(piece):
            piece = piece.rstrip() + ","
        preparation = Preparation(piece, self._options, self._language(), follows=True)
        try:
            utterances = list(preparation)
        except TextError as silent:  # nothing but marks
            utterances, self._silent = [], silent
        self._notes.update(dict.fromkeys(preparation.notes))
        if utterances:
            self._spoken = True
            last = utterances[-1]
            if kind == "clause":
                last = replace(last, pause=CLAUSE_PAUSE * self._options.pauses, end="clause")
            elif kind == "forced":
                last = replace(last, pause=FORCED_PAUSE * self._options.pauses, end="forced")
            if self._ended and not self._text:
                last = replace(last, pause=0.0)
            utterances[-1] = last
        return utterances

    def _language(self) -> Language:
        return self._options.language or dominant_language(self._seen)

    def _grow(self, utterances: list[Utterance], kind: str) -> None:
        """Adds to the utterance that grows; a new one begins after each sentence, and after a very long one."""
        for index, utterance in enumerate(utterances):
            ends = index < len(utterances) - 1 or kind == "sentence"
            if kind == "word" and not ends:
                text, source = utterance.text.rstrip(",，"), utterance.source.removesuffix(",")
                utterance = replace(utterance, text=text, source=source)
            if self._growing is None:
                self._growing = _GrowingUtterance(self, utterance)
                self._ready.append(self._growing)
            else:
                self._growing.append(utterance)
            if ends or self._growing.utterance.seconds > self._options.max_seconds:
                self._growing.close()
                self._growing = None

    def close_growing(self, growing: _GrowingUtterance) -> None:
        """What arrives from now on belongs to another utterance."""
        with self._changed:
            if self._growing is growing:
                self._growing = None

    def update(self) -> None:
        """Takes what has arrived."""
        with self._changed:
            self.advance()


class _GrowingUtterance:
    """An utterance of an arriving text, while it grows."""

    def __init__(self, text: ArrivingText, utterance: Utterance) -> None:
        self._text, self.utterance, self.closed = text, utterance, False
        self._known = utterance, False

    def append(self, more: Utterance) -> None:
        """`more` follows; the text is in the language that it began in."""
        space = "" if self.utterance.language == "zh" else " "
        text = self.utterance.text + space + more.text
        source = self.utterance.source + space + more.source
        self.utterance = replace(
            more, text=text, source=source, language=self.utterance.language, seconds=estimate_seconds(text)
        )

    def update(self) -> bool:
        """Takes what has arrived; True if that changed something since the last time."""
        self._text.update()
        before, self._known = self._known, (self.utterance, self.closed)
        return before != self._known

    def close(self) -> None:
        """Nothing more belongs to it."""
        self.closed = True
        self._text.close_growing(self)

    def can_begin(self, frontend: Frontend) -> bool:
        """Whether enough words are known; the last one may yet change."""
        self._known = self.utterance, self.closed
        return len(frontend.words(self.utterance.text, self.utterance.language)) > AHEAD


@dataclass(frozen=True)
class _Cut:
    """A place at which a text may be cut: after a sentence, a clause, a word, or where it must ("forced")."""

    at: int
    kind: str


def _cut(text: str, ended: bool) -> _Cut | None:
    """Where to cut a text whose end may not have come yet: after its last sentence, else after a clause."""
    if ended:
        return _Cut(len(text), "sentence") if text.strip() else None
    if at := _last_sentence(text):
        return _Cut(at, "sentence")
    for at in reversed([*clause_ends(text)]):
        if _border(text, at) and estimate_seconds(text[:at]) >= SHORTEST_CLAUSE:
            return _Cut(at, "clause")
    return _forced(text)


def _word_cut(text: str, ended: bool) -> _Cut | None:
    """The same for words: after the last one that what follows cannot change."""
    if ended:
        return _Cut(len(text), "sentence") if text.strip() else None
    if at := _last_sentence(text):
        return _Cut(at, "sentence")
    clauses = [at for at in clause_ends(text) if _border(text, at)]
    words = [match.end() for match in _PLAIN_BORDER.finditer(text) if not _OPEN.search(text, 0, match.end())]
    at = max([*clauses, *words], default=0)
    if at:
        return _Cut(at, "clause" if at in clauses else "word")
    return _forced(text)


def _last_sentence(text: str) -> int:
    """The end of the last whole sentence, blank line, or line of a list; 0 if there is none."""
    places = [at for at in sentence_ends(text) if _border(text, at) and not _LIST_NUMBER.search(text, 0, at)]
    for pattern in (_BLANK_LINE, _OWN_LINE):
        places += [match.end() for match in pattern.finditer(text) if text[: match.end()].strip()]
    return next((at for at in sorted(places, reverse=True) if not _OPEN.search(text, 0, at)), 0)


def _border(text: str, at: int) -> bool:
    """Whether a sentence or clause certainly ends here: more has come, and after an ASCII mark it is a space."""
    if at >= len(text) or _OPEN.search(text, 0, at):
        return False
    return text[at].isspace() or _MARK.search(text, max(0, at - 9), at) is not None


def _forced(text: str) -> _Cut | None:
    """A text that goes on and on without a mark is cut between words."""
    if len(text) < LONGEST_BUFFER:
        return None
    places = [match.end() for match in _SPACE.finditer(text, LONGEST_BUFFER // 2, LONGEST_BUFFER)]
    return _Cut(places[-1] if places else LONGEST_BUFFER, "forced")


__all__ = ["ArrivingText"]
