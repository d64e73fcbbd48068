"""The markup for exact phonemes, `[word](/fəʊniːmz/)`: what the word stands for is said, however it is written."""

from __future__ import annotations

import re

# A path such as /docs/ has letters that are no phonemes in most cases, and stays a link.
_SYMBOL = "abdefhijklmnoprstuvwxyzæðŋœɐɑɒɔɕəɚɛɜɝɡɤɥɨɪɹɻɾʂʃʊʌʒʔʣʤʥʦʧʨθβχꭧAIOQWYT"
EXACT = re.compile(rf"\[([^\[\]\n/]{{1,200}})\]\(/([{_SYMBOL}gˈˌ'ːˑʰ→↗↘↓͡\u0303\u0329\u032f .,-]{{1,400}})/\)")


def without_exact(text: str) -> str:
    """The text with the words themselves, for models that read text."""
    return EXACT.sub(lambda match: match[1], text)


def exact_spans(text: str) -> list[tuple[int, int]]:
    """Where such markup stands; it is not to be cut."""
    return [match.span() for match in EXACT.finditer(text)] if "](/" in text else []
