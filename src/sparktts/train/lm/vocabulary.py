"""Tokenizers: a small one of characters or phonemes for models from scratch, and Qwen2.5's with Spark-TTS tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointError

if TYPE_CHECKING:
    import tokenizers

STOP = "<|im_end|>"
MARKS = ("content", "style_label", "style_prompt", "acoustic_token", "global_token", "semantic_token")
TASKS = ("vc", "tts", "asr", "s2s", "t2s", "cap", "understand", "controllable_tts", "prompt_tts", "edit")
# Families beside the codec's, in the published order: facts about the official tokenizer.
PUBLISHED = (
    ("pitch_value", 1001),
    ("pitch_var_value", 11),
    ("pitch_label", 5),
    ("pitch_var_label", 5),
    ("speed_value", 11),
    ("speed_label", 5),
    ("loudness_value", 31),
    ("loudness_label", 5),
    ("age", 5),
    ("gender", 3),
    ("emotion", 101),
)
USED = {"pitch_value": 1001, "pitch_label": 5, "speed_value": 11, "speed_label": 5, "gender": 2}
USED_MARKS = ("content", "style_label", "acoustic_token", "global_token", "semantic_token")
USED_TASKS = ("tts", "controllable_tts")
RARE = 2  # characters seen less often are spelled in bytes
ROUNDING = 64


def spark_tokens(semantic: int, speaker: int, published: bool = True) -> list[str]:
    """The tokens that Spark-TTS adds, in id order.

    semantic, speaker: codes of the codec; published: all of the official list, else those that prompts use.
    """
    counted = list(PUBLISHED) if published else list(USED.items())
    counted = [("bicodec_global", speaker), ("bicodec_semantic", semantic), *counted]
    tokens = [f"<|{name}_{number}|>" for name, count in counted for number in range(count)]
    tokens += [f"<|task_{name}|>" for name in (TASKS if published else USED_TASKS)]
    marks = MARKS if published else USED_MARKS
    return tokens + [f"<|start_{mark}|>" for mark in marks] + [f"<|end_{mark}|>" for mark in marks]


def small_tokenizer(
    texts: Iterable[str], semantic: int, speaker: int, always: Iterable[str] = ()
) -> tokenizers.Tokenizer:
    """One token for each character of the texts; others are spelled in UTF-8 bytes, so that no text is impossible.

    always: characters that have a token whether the texts hold them or not.
    """
    from tokenizers import AddedToken, Tokenizer, models

    seen = Counter(character for text in texts for character in text)
    characters = sorted({c for c, count in seen.items() if count >= RARE} | set(always) | {" "})
    names = [f"<0x{byte:02X}>" for byte in range(256)] + characters
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<|endoftext|>", STOP)])
    tokens = spark_tokens(semantic, speaker, published=False)
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in tokens])
    return tokenizer


def extended_tokenizer(path: Path, semantic: int, speaker: int) -> tokenizers.Tokenizer:
    """A Qwen2.5 tokenizer.json with the Spark-TTS tokens behind its own. Raises CheckpointError."""
    from tokenizers import AddedToken, Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"The tokenizer {path} cannot be read ({error}).") from None
    if tokenizer.token_to_id(STOP) is None:
        raise CheckpointError(f"The tokenizer {path} has no token {STOP}: it is not of a Qwen2.5 model.")
    tokens = spark_tokens(semantic, speaker)
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in tokens])
    return tokenizer


def rows_for(tokenizer: tokenizers.Tokenizer) -> int:
    """Rows of the embedding: one for each token, rounded up."""
    largest = max(tokenizer.get_vocab().values()) + 1
    return -(-largest // ROUNDING) * ROUNDING
