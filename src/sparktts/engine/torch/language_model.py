"""The language model on PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn

from ...checkpoint.config import LanguageModelConfig
from ...checkpoint.stored import Array
from ..base import Handle, IdSet, Samples, Tokens
from ..sequences import SequenceModel, one_product_each
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


class TorchLanguageModel(SequenceModel[Tensor]):
    """Qwen2 on a device; implements engine.base.LanguageModel."""

    def __init__(self, checkpoint: LanguageModelWeights, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(checkpoint.lm)
        self.device, self.dtype = device, dtype
        with torch.device("meta"):
            model = Qwen2(self.config).to(dtype=dtype)
        self.model = model.eval().requires_grad_(False)
        head = _load(model, checkpoint, device)
        self._output = model.embed_tokens.weight if head is None else head
        self._heads: dict[IdSet, tuple[Projection, Tokens]] = {}
        self._cache = KeyValueCache(self.config, device, dtype)
        self._graphs = DecodeGraphs(self.model, self._cache) if device.type == "cuda" else None

    @torch.inference_mode()
    def step(self) -> dict[Handle, int]:
        """One sampled id for every running sequence; see SequenceModel."""
        return super().step()

    @torch.inference_mode()
    def cancel(self, handle: Handle) -> None:
        """Drops a sequence; unknown handles are ignored."""
        super().cancel(handle)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Samples:
        """(n, vocabulary) float32 scores after each of the n ids: no grammar, no sampling. For diagnosis and tests."""
        hidden = self.model(torch.tensor([list(ids)], device=self.device))
        scores: Samples = (hidden[0] @ self._output.T.to(hidden.dtype)).float().cpu().numpy()
        return scores

    def _reserve(self, rows: int, positions: int, used: int) -> None:
        if self._cache.reserve(rows, positions):
            self.model.reserve_positions(self._cache.capacity)
            if self._graphs is not None:
                self._graphs.clear()

    def _extend(self, ids: Sequence[int], row: int, past: int) -> Tensor:
        return self.model.extend(self._tensor(ids), self._cache, row, past)

    def _decode(self, ids: Sequence[int], past: Sequence[int], wanted: Sequence[int]) -> Tensor:
        numbers, positions, span = self._tensor(ids), self._tensor(past), max(past) + 1
        if self._graphs is not None:
            hidden = self._graphs.decode(numbers, positions, span)
        else:
            hidden = self.model.decode(numbers, positions, self._cache, span)
        return hidden if len(wanted) == len(ids) else hidden[list(wanted)]

    def _join(self, states: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(states))

    def _scores(self, hidden: Tensor, legal: Sequence[IdSet]) -> list[tuple[Samples, Tokens]]:
        def product(rows: list[int], ids: IdSet) -> tuple[Samples, Tokens]:
            head, numbers = self._head(ids)
            return head(hidden[rows]).float().cpu().numpy(), numbers

        return one_product_each(legal, product)

    def _move(self, source: int, target: int, length: int) -> None:
        self._cache.move(source, target, length)

    def _head(self, ids: IdSet) -> tuple[Projection, Tokens]:
        """The rows of the output head for these ids, kept: while speaking that is 8,193 rows of 166,000."""
        if ids not in self._heads:
            numbers = ids.ids
            rows = self._output[torch.from_numpy(numbers).to(self._output.device)].to(self.device, self.dtype)
            self._heads[ids] = (projection(rows), numbers)
        return self._heads[ids]

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
