"""Documents packed into one stream of tokens without padding, and the padded groups that attention works on.

Everything that acts on single tokens (projections, norms, the head) sees the stream; attention sees the documents of
similar length side by side, so that no token ever attends to another document and little is computed for padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ROUNDING = 64  # of padded lengths: few distinct shapes, for which matrix kernels are prepared once
WASTE = 0.12  # share of padding in a group beyond which a new group is begun


@dataclass(frozen=True)
class Packed:
    """A batch of documents, one after the other.

    ids: (N,) what is fed; targets: (N,) the id that follows, or -1 where nothing is to be learnt; groups: for each
    group of documents (D, T) positions in the stream, N for padding; places: (N,) of each token in the groups, one
    after the other and flattened.
    """

    ids: Tensor
    targets: Tensor
    groups: tuple[Tensor, ...]
    places: Tensor

    @property
    def tokens(self) -> int:
        """Tokens that are fed."""
        return len(self.ids)

    def to(self, device: torch.device) -> Packed:
        """The same batch on a device."""
        groups = tuple(group.to(device) for group in self.groups)
        return Packed(self.ids.to(device), self.targets.to(device), groups, self.places.to(device))


def pack(documents: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> Packed:
    """Packs documents, each (ids fed, targets) of equal length; the stream keeps their order."""
    lengths = np.array([len(ids) for ids, _ in documents])
    starts = np.concatenate(([0], np.cumsum(lengths)))
    total = int(starts[-1])
    places = np.empty(total, np.int64)
    groups = []
    offset = 0
    for members in _grouped(lengths):
        width = _rounded(int(lengths[members].max()))
        rows = np.full((len(members), width), total, np.int64)
        for row, member in enumerate(members):
            start, length = int(starts[member]), int(lengths[member])
            rows[row, :length] = np.arange(start, start + length)
            places[start : start + length] = offset + row * width + np.arange(length)
        groups.append(torch.from_numpy(rows))
        offset += rows.size
    ids = np.concatenate([np.asarray(ids, np.int64) for ids, _ in documents])
    targets = np.concatenate([np.asarray(targets, np.int64) for _, targets in documents])
    return Packed(torch.from_numpy(ids), torch.from_numpy(targets), tuple(groups), torch.from_numpy(places))


def _grouped(lengths: np.ndarray) -> list[list[int]]:
    """Documents in groups of similar length, longest first."""
    groups: list[list[int]] = []
    used = 0
    for member in np.argsort(-lengths, kind="stable"):
        length = int(lengths[member])
        if groups:
            width = _rounded(int(lengths[groups[-1][0]]))
            padded = width * (len(groups[-1]) + 1)
            if 1 - (used + length) / padded <= WASTE or _rounded(length) == width:
                groups[-1].append(int(member))
                used += length
                continue
        groups.append([int(member)])
        used = length
    return groups


def _rounded(length: int) -> int:
    return -(-length // ROUNDING) * ROUNDING
