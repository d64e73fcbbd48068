"""Matrices in blocks: nothing is lost that a block can hold, and what is lost is small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparktts.checkpoint.blocks import BlockFormat, dequantize
from sparktts.export.blocks import quantize

FORMS = [BlockFormat(bits, size) for bits in (4, 8) for size in (16, 32, 64, 128)]


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    rows=st.integers(1, 9),
    columns=st.integers(1, 300),
    scale=st.sampled_from([1e-30, 1e-4, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
@example(form=BlockFormat(8, 16), rows=3, columns=18, scale=1e4, seed=18)  # two values, both near exact codes
def test_no_block_is_further_off_than_by_plain_rounding(
    form: BlockFormat, rows: int, columns: int, scale: float, seed: int
) -> None:
    matrix = (np.random.default_rng(seed).standard_normal((rows, columns)) * scale).astype(np.float32)
    codes, scales = quantize(matrix, form)
    assert (codes.shape, scales.shape) == form.shapes(rows, columns)
    restored = dequantize(codes, scales, columns, form)
    assert restored.shape == matrix.shape
    error, plain = (in_blocks(values - matrix, form) for values in (restored, rounded(matrix, form)))
    largest = np.abs(in_blocks(matrix, form)).max(axis=-1)
    # Values and scales are float32: of two fits that are nearly equal, the other one may be taken.
    assert (np.linalg.norm(error, axis=-1) <= 1.02 * np.linalg.norm(plain, axis=-1) + 1e-5 * largest).all()


def in_blocks(matrix: np.ndarray, form: BlockFormat) -> np.ndarray:
    """(rows, blocks, size) in float64, filled up with zeros."""
    padding = -matrix.shape[1] % form.size
    return np.pad(matrix.astype(np.float64), ((0, 0), (0, padding))).reshape(len(matrix), -1, form.size)


def rounded(matrix: np.ndarray, form: BlockFormat) -> np.ndarray:
    """By the scales that just reach each block's largest value."""
    blocks, half = in_blocks(matrix, form), 2 ** (form.bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)
    scale = np.where(largest == 0, 1, largest / -half)
    values = np.clip(np.rint(blocks / scale), -half, half - 1) * scale
    return values.reshape(len(matrix), -1)[:, : matrix.shape[1]]


@pytest.mark.parametrize("form", FORMS)
def test_what_a_block_can_hold_comes_back_as_it_was(form: BlockFormat) -> None:
    half = 2 ** (form.bits - 1)
    random = np.random.default_rng(1)
    matrix = random.integers(-half, half, (5, 4 * form.size)).astype(np.float32)
    matrix[:, :: form.size] = -half  # every block has the value that its scale is made for
    matrix *= np.float32(0.25)
    assert (dequantize(*quantize(matrix, form), matrix.shape[1], form) == matrix).all()


@pytest.mark.parametrize("form", FORMS)
def test_empty_blocks_are_zero(form: BlockFormat) -> None:
    matrix = np.zeros((3, 200), np.float32)
    matrix[1, 7] = 1e-42  # too small to divide by
    codes, scales = quantize(matrix, form)
    assert np.isfinite(scales).all()
    assert (np.abs(dequantize(codes, scales, 200, form)) <= 1e-42).all()


def test_fitted_scales_beat_those_that_reach_the_largest_value() -> None:
    matrix = np.random.default_rng(3).standard_normal((64, 1024)).astype(np.float32)
    form = BlockFormat(4, 32)
    error, plain = dequantize(*quantize(matrix, form), 1024, form) - matrix, rounded(matrix, form) - matrix
    assert np.square(error).mean() < 0.92 * np.square(plain).mean()


@pytest.mark.parametrize("form", FORMS)
def test_the_runtime_reads_the_same_values(form: BlockFormat) -> None:
    onnx = pytest.importorskip("onnx")
    from sparktts.engine.onnx.sessions import onnxruntime

    random = np.random.default_rng(5)
    matrix = random.standard_normal((24, 200)).astype(np.float32)
    codes, scales = quantize(matrix, form)
    x = random.standard_normal((3, 200)).astype(np.float32)
    node = onnx.helper.make_node(
        "MatMulNBits", ["x", "c", "s"], ["y"], domain="com.microsoft", K=200, N=24, bits=form.bits, block_size=form.size
    )
    inputs = [
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape),
        onnx.helper.make_tensor_value_info("c", onnx.TensorProto.UINT8, codes.shape),
        onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, scales.shape),
    ]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (3, 24))]
    imports = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "one", inputs, outputs), opset_imports=imports, ir_version=10
    )
    session = onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x, "c": codes, "s": scales})
    assert np.abs(found - x @ dequantize(codes, scales, 200, form).T).max() < 1e-3
