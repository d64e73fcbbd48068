"""Text to ids, and the ids of the tokens that Spark-TTS adds; all read from the checkpoint's own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CheckpointError, InvalidTokens

if TYPE_CHECKING:
    import tokenizers

MARKS = ("content", "style_label", "acoustic_token", "global_token", "semantic_token")


@dataclass(frozen=True)
class TokenFamily:
    """Numbered tokens with consecutive ids, such as `<|bicodec_semantic_0|>` and those after it."""

    name: str
    first: int
    count: int

    @property
    def span(self) -> tuple[int, int]:
        """Half-open range of the ids."""
        return self.first, self.first + self.count

    def id(self, number: int) -> int:
        """Id of token `number`. Raises InvalidTokens when there is no such token."""
        if not 0 <= number < self.count:
            raise InvalidTokens(f"There is no token {self.name}_{number}: the numbers go from 0 to {self.count - 1}.")
        return self.first + number

    def number(self, token: int) -> int:
        """Inverse of `id`."""
        return token - self.first


class SparkTokenizer:
    """The checkpoint's tokenizer, and the ids that prompts and grammar are made of."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, source: str) -> None:
        self._tokenizer, self._source = tokenizer, source
        self.stop = self._id("<|im_end|>")
        self.task_tts = self._id("<|task_tts|>")
        self.task_create = self._id("<|task_controllable_tts|>")
        self.start = {mark: self._id(f"<|start_{mark}|>") for mark in MARKS}
        self.end = {mark: self._id(f"<|end_{mark}|>") for mark in MARKS}
        self.speaker = self._family("bicodec_global")
        self.semantic = self._family("bicodec_semantic")
        self.pitch_value = self._family("pitch_value")
        self.speed_value = self._family("speed_value")
        self.pitch_label = self._family("pitch_label")
        self.speed_label = self._family("speed_label")
        self.gender = self._family("gender")

    @classmethod
    def from_file(cls, path: Path) -> SparkTokenizer:
        """Reads tokenizer.json. Raises CheckpointError when it is missing, damaged, or lacks a Spark-TTS token."""
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"The tokenizer {path} cannot be read ({error}): download the model again.") from None
        return cls(tokenizer, str(path))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text. Text that spells a control token, such as `<|im_end|>`, is read as ordinary characters."""
        encoding = self._tokenizer.encode(text.replace("<|", "< |"), add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a whole prompt whose control tokens count as such. For diagnosis and tests."""
        ids: list[int] = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        return ids

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"The tokenizer {self._source} has no token {token}: this is not a Spark-TTS checkpoint."
            )
        return int(found)

    def _family(self, name: str) -> TokenFamily:
        first = self._id(f"<|{name}_0|>")
        count = 1
        while (found := self._tokenizer.token_to_id(f"<|{name}_{count}|>")) is not None:
            if found != first + count:
                raise CheckpointError(f"The tokenizer {self._source} has {name} tokens that are not in order.")
            count += 1
        return TokenFamily(name, first, count)
