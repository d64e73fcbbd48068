"""From clips to training sequences: which task, which reference, and the ids with what is to be learnt.

The layouts themselves are PromptBuilder's: what is trained is what is asked for later.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...data.schema import Clip
from ...errors import OptionError, TextError
from ...frontend import Frontend
from ...on_demand import word_ends
from ...prompt import Controls, PromptBuilder, SpokenText, TrainingSequence
from ...text.prepare import TextOptions, prepare
from ...types import Language
from .options import LanguageModelOptions

GENDERS = {"female": 0, "male": 1}
OVERHEAD = 48  # ids of a sequence beside text and semantics, at most: marks, style, values, 32 voice tokens
NO_TOKENS, NO_TEXT, NO_WORDS, NO_TIMES = "no tokens", "nothing to say", "no words", "no word times"
TOO_LONG = "too long"

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Example:
    """A clip ready for training. length: ids of its text and semantics together, an estimate for text on demand."""

    id: str
    speaker: str
    language: str
    seconds: float
    voice: tuple[int, ...]
    spoken: SpokenText
    length: int
    controls: Controls | None  # of a clip that can be created: gender, levels and values
    ending: str  # what stands between this clip's text and the next one's


@dataclass(frozen=True)
class Document:
    """ids: (n,) what is fed; targets: (n,) the id that follows, -1 where there is nothing to learn."""

    ids: Ids
    targets: Ids


class Examples:
    """Examples, those of each speaker together, and how many clips were left out for which reason."""

    def __init__(self, options: LanguageModelOptions, builder: PromptBuilder, clips: Iterable[Clip]) -> None:
        self.options, self.builder = options, builder
        self._frontend = Frontend(options.text_frontend == "phonemes", options.text_order == "on_demand")
        self.left_out: Counter[str] = Counter()
        self.items: list[Example] = []
        codecs = set()
        for clip in clips:
            example = self._example(clip)
            if isinstance(example, str):
                self.left_out[example] += 1
                continue
            codecs.add(clip.codec)
            self.items.append(example)
        if len(codecs) > 1:
            raise OptionError(
                f"The shards hold tokens of {len(codecs)} different codecs: prepare them all with the same --codec."
            )
        self.codec = next(iter(codecs), None)
        self._of_speaker: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, example in enumerate(self.items):
            self._of_speaker[example.speaker, example.language].append(index)
        tasks = options.tasks
        shares = np.array([tasks.clone, tasks.clone_transcript, tasks.create])
        self._bounds = np.cumsum(shares / shares.sum())

    def __len__(self) -> int:
        return len(self.items)

    @property
    def seconds(self) -> float:
        """Of speech in all."""
        return sum(example.seconds for example in self.items)

    @property
    def tokens(self) -> int:
        """Ids fed in one pass over all, without what transcripts of references add."""
        return sum(example.length + OVERHEAD for example in self.items)

    def document(self, index: int, random: np.random.Generator) -> Document:
        """The sequence of one clip; the task, the reference and their chances are drawn from `random`."""
        example = self.items[index]
        task = int(np.searchsorted(self._bounds, random.random(), side="right"))
        if task == 2 and example.controls is not None:
            return _document(self._create(example, example.controls))
        reference = self._reference(index, random)
        if task == 1 and self._fits(example, reference):
            before = reference.spoken
            if before.text:
                before = SpokenText(before.semantic, before.text + reference.ending)
            return _document(self.builder.training_clone(example.spoken, reference.voice, before))
        return _document(self.builder.training_clone(example.spoken, reference.voice))

    def _create(self, example: Example, controls: Controls) -> TrainingSequence:
        assert controls.pitch_value is not None
        assert controls.speed_value is not None
        values = controls.pitch_value, controls.speed_value
        return self.builder.training_create(example.spoken, example.voice, controls, *values)

    def _reference(self, index: int, random: np.random.Generator) -> Example:
        """Another clip of the same speaker in the same language; the clip itself where there is none."""
        example = self.items[index]
        mates = self._of_speaker[example.speaker, example.language]
        if len(mates) == 1:
            return example
        chosen = mates[int(random.integers(len(mates) - 1))]
        return self.items[chosen if chosen != index else mates[-1]]

    def _fits(self, example: Example, before: Example) -> bool:
        return before is not example and before.length + example.length + OVERHEAD <= self.options.data.max_tokens

    def _example(self, clip: Clip) -> Example | str:
        if not clip.semantic or not clip.global_tokens:
            return NO_TOKENS
        spoken = self._spoken(clip)
        if isinstance(spoken, str):
            return spoken
        text = spoken.text or " ".join(spoken.words)
        # A request and its answer's mark stand beside each word.
        length = len(self.builder.tokenizer.encode(text)) + len(spoken.semantic) + 2 * len(spoken.words)
        if length + OVERHEAD > self.options.data.max_tokens:
            return TOO_LONG
        return Example(
            id=clip.id,
            speaker=clip.speaker,
            language=clip.language,
            seconds=clip.duration,
            voice=clip.global_tokens,
            spoken=spoken,
            length=length,
            controls=_controls(clip),
            ending=self._frontend.joint(text, "zh" if clip.language == "zh" else "en"),
        )

    def _spoken(self, clip: Clip) -> SpokenText | str:
        semantic = array("H", clip.semantic or ())  # two bytes a code, where a tuple takes many
        if self.options.text_frontend == "text":
            try:
                return SpokenText(semantic, normalized(clip))
            except TextError:
                return NO_TEXT
        if not clip.words:
            return NO_WORDS
        if self.options.text_order == "text_first":
            return SpokenText(semantic, " ".join(clip.words))
        if not clip.word_times or len(clip.word_times) != len(clip.words):
            return NO_TIMES
        return SpokenText(semantic, words=clip.words, word_ends=word_ends(clip.word_times, len(semantic)))


def normalized(clip: Clip) -> str:
    """The transcript as the pipeline would give it to the model: numbers and symbols in words."""
    language: Language | None = "zh" if clip.language == "zh" else "en" if clip.language == "en" else None
    options = TextOptions(language=language, target_seconds=60, max_seconds=60)
    utterances = prepare(clip.text, options).utterances
    return ("" if clip.language == "zh" else " ").join(utterance.text for utterance in utterances)


def corrupted(ids: Ids, span: tuple[int, int], share: float, random: np.random.Generator) -> Ids:
    """The ids with about that share of those in the span (half-open) replaced by random ones of the span."""
    where = (ids >= span[0]) & (ids < span[1]) & (random.random(len(ids)) < share)
    result = ids.astype(np.int32)
    result[where] = random.integers(span[0], span[1], int(where.sum()))
    return result


def _document(sequence: TrainingSequence) -> Document:
    ids = np.asarray(sequence.ids, np.int32)
    learnt = np.asarray(sequence.targets, bool)
    return Document(ids[:-1], np.where(learnt[1:], ids[1:], np.int32(-1)))


def _controls(clip: Clip) -> Controls | None:
    if clip.gender not in GENDERS or clip.pitch_value is None:
        return None
    return Controls(
        gender=GENDERS[clip.gender],
        pitch_label=clip.pitch_level,
        speed_label=clip.speed_level,
        pitch_value=clip.pitch_value,
        speed_value=clip.speed_value,
    )
