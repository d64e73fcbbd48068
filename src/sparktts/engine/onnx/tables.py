"""The language model's file of tensors: rows of the embedding are read from it, and never the whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...checkpoint.blocks import BlockFormat, dequantize
from ...checkpoint.fields import Section
from ...checkpoint.tensors import TensorFile
from ...errors import CheckpointError

PART = "language_model"  # of the manifest
STACK, DATA = "lm.onnx", "lm.safetensors"
EMBEDDING = "embedding"


def form_of(settings: Section, kind: str) -> BlockFormat | None:
    """The form that the manifest gives a kind of matrix; None: float32. Raises CheckpointError."""
    forms = settings.section("forms")
    if not forms.has(kind):
        return None
    bits, size = (*forms.integers(kind), 0)[:2]
    if bits not in (4, 8) or size < 16 or size & (size - 1):
        raise forms.error(kind, "must be 4 or 8 bits and a block of 16, 32, 64, ... values")
    return BlockFormat(bits, size)


class EmbeddingTable:
    """Vectors of ids. The table is mapped: of its rows, 160 to 600 MB, a text and its speech touch few.

    form: how the table is stored; None: in float32. rows, width: what the configuration says of it.
    """

    def __init__(self, path: Path, form: BlockFormat | None, rows: int, width: int) -> None:
        file = TensorFile.open(path)
        self._form, self._rows, self._width = form, rows, width
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (rows, width)}
        if form is not None:
            codes, scales = form.shapes(rows, width)
            shapes = {f"{EMBEDDING}.codes": codes, f"{EMBEDDING}.scales": scales}
        for name, shape in shapes.items():
            if file.shape(name) != shape:
                found = list(file.shape(name))
                raise CheckpointError(f"{path}: the tensor `{name}` has shape {found}, not {list(shape)}.")
        self._tables = [np.asarray(file.map(name)) for name in shapes]  # a plain array of the same memory is quicker

    def rows(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """ids: (n,), each one inside the table. Returns (n, width)."""
        chosen = [table.take(ids, axis=0) for table in self._tables]
        if self._form is None:
            return chosen[0]
        return dequantize(chosen[0], chosen[1], self._width, self._form)
