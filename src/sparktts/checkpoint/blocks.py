"""Matrices in blocks of 4 or 8 bits, as exported models store them, and their values.

A block is `size` neighbouring values of one row. It has one scale and no offset: value = (code - 2**(bits-1)) * scale.
Source of the layout: ONNX Runtime's operator MatMulNBits, whose codes and scales these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .stored import Array


@dataclass(frozen=True)
class BlockFormat:
    """How a matrix is stored. bits: 4 or 8; size: values in a block, a power of 2 from 16 on."""

    bits: int
    size: int

    def shapes(self, rows: int, columns: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Shapes of the codes, in bytes, and of the scales. A row's last block may be filled up."""
        blocks = -(-columns // self.size)
        return (rows, blocks, self.size * self.bits // 8), (rows, blocks)


def dequantize(codes: Array, scales: Array, columns: int, form: BlockFormat) -> npt.NDArray[np.float32]:
    """(rows, columns) values. codes: (rows, blocks, bytes), in 4 bits the even columns in the lower halves of bytes;
    scales: (rows, blocks)."""
    if form.bits == 4:
        codes = np.stack((codes & 15, codes >> 4), axis=-1)
    values = codes.reshape(len(codes), -1, form.size).astype(np.float32)
    values -= 2 ** (form.bits - 1)
    values *= scales[..., None]
    return values.reshape(len(codes), -1)[:, :columns]
