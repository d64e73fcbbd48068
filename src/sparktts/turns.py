"""Who may use what only so many can use at once: in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Turns:
    """So many at a time, first come first served. A thread inside a `with` block may enter another one."""

    def __init__(self, count: int = 1) -> None:
        self._changed = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._free = count
        self._own = threading.local()

    def ticket(self) -> Ticket:
        """A place at the end of the queue."""
        return Ticket(self)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def __enter__(self) -> None:
        depth = getattr(self._own, "depth", 0)
        if not depth:
            self._own.ticket = self.ticket()
            try:
                self._own.ticket.wait()
            except BaseException:
                self._own.ticket.release()
                raise
        self._own.depth = depth + 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._own.depth -= 1
        if not self._own.depth:
            self._own.ticket.release()


class Ticket:
    """One place in the queue, later the turn itself. May be waited for in pieces: the place stays."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._held = turns, False
        with turns._changed:
            turns._queue.append(self)

    def wait(self, seconds: float | None = None) -> bool:
        """Returns when it is this one's turn: True; or after so long: False."""
        turns = self._turns
        with turns._changed:
            if not self._held and turns._changed.wait_for(self._is_next, seconds):
                turns._queue.popleft()
                turns._free -= 1
                self._held = True
                turns._changed.notify_all()
            return self._held

    def release(self) -> None:
        """Gives the turn back, or leaves the queue."""
        turns = self._turns
        with turns._changed:
            if self._held:
                turns._free += 1
            elif self in turns._queue:
                turns._queue.remove(self)
            self._held = False
            turns._changed.notify_all()

    def _is_next(self) -> bool:
        return bool(self._turns._free) and self._turns._queue[0] is self
