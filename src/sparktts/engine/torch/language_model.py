"""The language model on PyTorch: sequences that join and leave, one id each a step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn

from ...checkpoint.config import LanguageModelConfig
from ...checkpoint.stored import Array
from ...errors import GenerationError
from ...sampling import Sampler, SamplingOptions
from ..base import Grammar, Handle, IdSet, Samples, Tokens
from .graphs import DecodeGraphs
from .packed import Projection, pack_linear_layers, projection
from .qwen2 import KeyValueCache, Qwen2
from .weights import materialize

EMBEDDING = "model.embed_tokens.weight"


class LanguageModelWeights(Protocol):
    """Where a language model comes from: a checkpoint, or a model that is being trained. As Checkpoint has them."""

    @property
    def lm(self) -> LanguageModelConfig: ...

    def lm_tensors(self, skip: Collection[str] = ()) -> Iterator[tuple[str, Array]]: ...

    def lm_mapped(self, name: str) -> tuple[Array, str]: ...


@dataclass
class _Sequence:
    """One running sequence: what to feed next, and how many positions the cache holds."""

    handle: Handle
    grammar: Grammar
    sampler: Sampler
    pending: list[int]
    past: int = 0


class TorchLanguageModel:
    """LanguageModel over Qwen2. Not thread-safe: one thread adds, steps and cancels.

    Sequence b of the running ones owns row b of the key-value cache. A sequence run alone gives the same ids for the
    same seed; run beside others its sums may differ in the last bits, and so, rarely, its ids.
    """

    def __init__(self, checkpoint: LanguageModelWeights, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.config = checkpoint.lm
        with torch.device("meta"):
            model = Qwen2(self.config).to(dtype=dtype)
        self.model = model.eval().requires_grad_(False)
        head = _load(model, checkpoint, device)
        self._output = model.embed_tokens.weight if head is None else head
        self._heads: dict[IdSet, tuple[Projection, Tokens]] = {}
        self._cache = KeyValueCache(self.config, device, dtype)
        self._graphs = DecodeGraphs(self.model, self._cache) if device.type == "cuda" else None
        self._running: list[_Sequence] = []
        self._next = 0

    def add(self, prompt: Sequence[int], sampling: SamplingOptions, grammar: Grammar) -> Handle:
        """Queues a sequence; its first id comes with the next `step`."""
        handle = Handle(self._next)
        self._next += 1
        pending = [*prompt, *grammar.forced()]
        self._running.append(_Sequence(handle, grammar, Sampler(sampling), pending))
        return handle

    @torch.inference_mode()
    def cancel(self, handle: Handle) -> None:
        """Drops a sequence; unknown handles, such as finished ones, are ignored."""
        for row, sequence in enumerate(self._running):
            if sequence.handle == handle:
                self._remove(row)
                return

    @torch.inference_mode()
    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence; those whose grammar is done have left when this returns.

        A sequence whose grammar waits is left as it is, and missing in the result.
        Raises GenerationError when a sequence outgrows the model's positions.
        """
        active = [row for row, sequence in enumerate(self._running) if not sequence.grammar.waiting]
        if not active:
            return {}
        for sequence in (self._running[row] for row in active):
            sequence.pending += sequence.grammar.forced()  # what it waited for
        self._reserve(set(active))
        hidden = self._advance(active)
        chosen: dict[Handle, int] = {}
        speaking = [self._running[row] for row in active]
        for sequence, (scores, ids) in zip(speaking, self._legal_scores(hidden, speaking), strict=True):
            token = sequence.sampler.sample(scores, ids)
            sequence.grammar.accept(token)
            sequence.pending = [token, *sequence.grammar.forced()]
            chosen[sequence.handle] = token
        for row in reversed(range(len(self._running))):
            if self._running[row].grammar.done:
                self._remove(row)
        return chosen

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests."""
        hidden = self.model(torch.tensor([list(ids)], device=self.device))
        scores: Samples = (hidden[0] @ self._output.T.to(hidden.dtype)).float().cpu().numpy()
        return scores

    def _reserve(self, active: Set[int]) -> None:
        """Room in the cache for what will be fed. One that waits keeps its place, and is judged when it goes on."""
        ends = (s.past + (len(s.pending) if row in active else 1) for row, s in enumerate(self._running))
        longest = max(ends)
        if longest > self.config.max_position_embeddings:
            raise GenerationError(
                f"The text and its speech need {longest} positions, more than the model's "
                f"{self.config.max_position_embeddings}: use a shorter text, transcript or clip."
            )
        if self._cache.reserve(len(self._running), longest):
            self.model.reserve_positions(self._cache.capacity)
            if self._graphs is not None:
                self._graphs.clear()

    def _advance(self, active: list[int]) -> Tensor:
        """Feeds what is pending. Returns (B, hidden), one row a sequence that does not wait.

        Chunks (prompts, forced ids) are fed alone; when others have a single id, a chunk's last id joins them.
        """
        together = any(len(self._running[row].pending) == 1 for row in active)
        hidden = []
        for row in active:
            sequence = self._running[row]
            chunk = sequence.pending[:-1] if together else sequence.pending
            if chunk:
                hidden.append(self.model.extend(self._tensor(chunk), self._cache, row, sequence.past))
                sequence.past += len(chunk)
        return self._decode(active) if together else torch.cat(hidden)

    def _decode(self, active: list[int]) -> Tensor:
        """One id for every row of the cache in use: those that wait get the one that they will get again."""
        speaking = set(active)
        pending = [s.pending[-1 if row in speaking else 0] for row, s in enumerate(self._running)]
        ids, past = self._tensor(pending), [sequence.past for sequence in self._running]
        for row in active:
            self._running[row].past += 1
        if self._graphs is not None:
            hidden = self._graphs.decode(ids, self._tensor(past), max(past) + 1)
        else:
            hidden = self.model.decode(ids, self._tensor(past), self._cache, max(past) + 1)
        return hidden if len(active) == len(past) else hidden[active]

    def _legal_scores(self, hidden: Tensor, speaking: Sequence[_Sequence]) -> list[tuple[Samples, Tokens]]:
        """Scores of each sequence's legal ids and those ids; sequences with the same legal ids share one product."""
        legal = [sequence.grammar.legal() for sequence in speaking]
        results: dict[int, tuple[Samples, Tokens]] = {}
        for ids in set(legal):
            rows = [row for row, other in enumerate(legal) if other == ids]
            head, numbers = self._head(ids)
            scores = head(hidden[rows]).float().cpu().numpy()
            results.update(zip(rows, ((line, numbers) for line in scores), strict=True))
        return [results[row] for row in range(len(legal))]

    def _head(self, ids: IdSet) -> tuple[Projection, Tokens]:
        """The rows of the output head for these ids, kept: while speaking that is 8,193 rows of 166,000."""
        if ids not in self._heads:
            numbers = ids.ids
            rows = self._output[torch.from_numpy(numbers).to(self._output.device)].to(self.device, self.dtype)
            self._heads[ids] = (projection(rows), numbers)
        return self._heads[ids]

    def _remove(self, row: int) -> None:
        """The last sequence takes the freed row, so that the running ones stay together."""
        last = self._running.pop()
        if row < len(self._running):
            if last.past:
                self._cache.move(len(self._running), row, last.past)
            self._running[row] = last

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)


def _load(model: Qwen2, checkpoint: LanguageModelWeights, device: torch.device) -> Tensor | None:
    """Fills a model that is still on the meta device. Returns an untied output head, if there is one.

    On the CPU the embedding stays in its file (of its 166,000 rows, 600 MB, a text touches few), and each layer is
    packed before the next is read, so that no second copy of the weights ever exists.
    """
    packing = device.type == "cpu"
    if packing:
        model.embed_tokens = _embedding(_mapped(checkpoint, EMBEDDING))
    head = None
    for place, tensors in groupby(checkpoint.lm_tensors((EMBEDDING,) if packing else ()), key=_place):
        if place:
            materialize(model.get_submodule(place), device)
        head = model.load(tensors, device)
        if packing and place:
            pack_linear_layers(model.get_submodule(place))
    return head


def _embedding(weight: Tensor) -> nn.Embedding:
    rows, width = weight.shape
    return nn.Embedding(rows, width, _weight=weight, _freeze=True)


def _place(item: tuple[str, object]) -> str:
    """The submodule that a tensor belongs to: a whole layer, `norm`, `embed_tokens`; none for the output head."""
    parts = item[0].removeprefix("model.").split(".")
    return "" if parts[0] == "lm_head" else ".".join(parts[:2] if parts[0] == "layers" else parts[:1])


def _mapped(checkpoint: LanguageModelWeights, name: str) -> Tensor:
    array, dtype = checkpoint.lm_mapped(name)
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "BF16" else tensor
