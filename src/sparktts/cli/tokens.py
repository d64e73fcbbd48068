"""The file of tokens that `encode` writes and `decode` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidTokens
from .texts import decoded, read_bytes


@dataclass(frozen=True)
class TokenFile:
    """A recording in tokens. codec: fingerprint of their codec; None where a file leaves it out."""

    global_tokens: list[int]
    semantic_tokens: list[int]
    codec: str | None
    sample_rate: int | None

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(vars(self)) + "\n"

    @classmethod
    def read(cls, source: str) -> TokenFile:
        """From a file, or standard input for "-". Raises TextError, InvalidTokens."""
        text = decoded(read_bytes(source), source)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidTokens(f"{source} is not JSON: make it with `sparktts encode CLIP -o {source}`.") from None
        if not isinstance(content, dict):
            raise InvalidTokens(f"{source} holds no tokens: make it with `sparktts encode CLIP -o {source}`.")
        codec, rate = content.get("codec"), content.get("sample_rate")
        return cls(
            _numbers(content, "global_tokens", source),
            _numbers(content, "semantic_tokens", source),
            codec if isinstance(codec, str) else None,
            rate if type(rate) is int else None,
        )

    def check_codec(self, fingerprint: str) -> None:
        """Raises InvalidTokens for tokens of another codec."""
        if self.codec is not None and self.codec != fingerprint:
            raise InvalidTokens(
                f"These tokens belong to another codec ({self.codec}, the model has {fingerprint}): "
                "encode the clip again with this model."
            )


def _numbers(content: dict[str, Any], key: str, source: str) -> list[int]:
    numbers = content.get(key)
    if not isinstance(numbers, list) or not all(type(n) is int and abs(n) < 1 << 31 for n in numbers):
        raise InvalidTokens(f'{source} has no list of whole numbers "{key}": make it with `sparktts encode`.')
    return numbers
