"""Subtitles in SubRip's format: what is said when."""

from __future__ import annotations

from collections.abc import Iterable

from .report import UtteranceReport


def to_srt(utterances: Iterable[UtteranceReport]) -> str:
    """One entry for each utterance that is heard, in the user's words."""
    heard = [utterance for utterance in utterances if utterance.end > utterance.start]
    entries = (
        f"{number}\n{_clock(one.start)} --> {_clock(one.end)}\n{' '.join(one.source.split())}\n"
        for number, one in enumerate(heard, start=1)
    )
    return "\n".join(entries)


def _clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds, as SubRip writes them."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"
