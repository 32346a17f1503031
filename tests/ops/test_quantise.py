"""Quantised operators: rounding, saturation, zero points of all shapes, and what the sums stand for."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn.errors import ShapeError
from nbcnn.ir import TensorType
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.quantise import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from nbcnn.ops.quantised_conv import ConvInteger, QLinearConv
from nbcnn.ops.quantised_product import MatMulInteger, QLinearMatMul


def test_halves_go_to_the_even_one_and_ends_are_cut() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, 1e30], np.float32)
    one, zero = np.float32(1), np.array(10, np.uint8)
    (y,) = QuantizeLinear().reference(x, np.asarray(one), zero)
    np.testing.assert_array_equal(y, [10, 12, 12, 10, 8, 255, 0, 255])
    (y,) = QuantizeLinear().reference(x, np.asarray(one), np.array(0, np.int8))
    np.testing.assert_array_equal(y, [0, 2, 2, 0, -2, 127, -128, 127])
    assert y.dtype == np.int8


def test_back_and_forth(rng) -> None:
    q = rng.integers(0, 256, (2, 3, 4), np.uint8)
    scale, zero = np.array([0.5, 0.25, 2.0], np.float32), np.array([0, 128, 255], np.uint8)
    (x,) = DequantizeLinear(1).reference(q, scale, zero)
    np.testing.assert_array_equal(x[:, 1], (q[:, 1].astype(np.float32) - 128) / 4)
    np.testing.assert_array_equal(QuantizeLinear(1).reference(x, scale, zero)[0], q)


def test_blocks(rng) -> None:
    q, scale = rng.integers(-9, 9, (5, 2), np.int8), np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    (x,) = DequantizeLinear(0, 2).reference(q, scale, np.zeros((3, 2), np.int8))
    np.testing.assert_array_equal(x, q * scale.repeat(2, 0)[:5])


def test_32_bits_are_centred_without_overflow() -> None:
    x = np.array([2**31 - 1, -(2**31)], np.int32)
    (y,) = DequantizeLinear().reference(x, np.float64(1)[...], np.array(-1, np.int32))
    np.testing.assert_array_equal(y, [2.0**31, 1 - 2.0**31])


def test_dynamic_range_holds_zero() -> None:
    y, scale, zero = DynamicQuantizeLinear().reference(np.array([1, 2, 5], np.float32))
    assert (scale, zero) == (np.float32(5) / np.float32(255), 0)
    np.testing.assert_array_equal(y, [51, 102, 255])
    y, scale, zero = DynamicQuantizeLinear().reference(np.zeros(3, np.float32))
    assert np.isfinite(scale)
    assert not y.any()


def test_integer_products(rng) -> None:
    a, b = rng.integers(0, 256, (3, 4), np.uint8), rng.integers(-128, 128, (4, 5), np.int8)
    rows, columns = np.array([1, 200, 3], np.uint8), rng.integers(-5, 5, 5).astype(np.int8)
    (y,) = MatMulInteger().reference(a, b, rows, columns)
    np.testing.assert_array_equal(y, (a.astype(int) - rows[:, None]) @ (b.astype(int) - columns))
    assert y.dtype == np.int32
    each = np.array([[[1]], [[7]]], np.uint8)
    (y,) = MatMulInteger().reference(np.stack([a, a]), b, each, columns)
    np.testing.assert_array_equal(y[1], (a.astype(int) - 7) @ (b.astype(int) - columns))


def test_integer_convolution_pads_with_the_zero_point(rng) -> None:
    x, w = rng.integers(0, 256, (2, 4, 6, 5), np.uint8), rng.integers(0, 256, (6, 2, 3, 2), np.uint8)
    zero, each = np.array(77, np.uint8), rng.integers(0, 256, 6, np.uint8)
    op = ConvInteger(2, "same", 1, 2)
    (y,) = op.reference(x, w, zero, each)
    centred = w.astype(float) - each.reshape(-1, 1, 1, 1)
    conv = Conv2d(6, (3, 2), 2, "same", groups=2, bias=False)
    np.testing.assert_array_equal(y, conv.reference(x.astype(float) - 77, centred)[0])
    types = (TensorType(x.shape, "uint8"), TensorType(w.shape, "uint8"), TensorType((), "uint8"))
    assert op.infer(*types, TensorType((6,), "uint8"))[0] == TensorType(y.shape, "int32")


@pytest.mark.parametrize("each", [(), (5,)])
def test_linear_products_are_quantised_products(each: tuple, rng) -> None:
    a, b = rng.integers(0, 256, (3, 7), np.uint8), rng.integers(-128, 128, (7, 5), np.int8)
    scale = rng.uniform(0.01, 0.05, each).astype(np.float32)
    zeros, b_zero = np.array(100, np.uint8), np.zeros(each, np.int8)
    a_scale, y_scale = np.float32(0.02)[...], np.float32(0.05)[...]
    (y,) = QLinearMatMul().reference(a, a_scale, zeros, b, scale, b_zero, y_scale, zeros)
    x = 0.02 * (a - 100.0) @ (b * scale.astype(float)) / 0.05 + 100
    assert abs(y - x.clip(0, 255)).max() <= 0.501


def test_linear_convolution_is_the_quantised_convolution(rng) -> None:
    x, w = rng.integers(-128, 128, (1, 3, 6, 6), np.int8), rng.integers(-128, 128, (4, 3, 3, 3), np.int8)
    scale, bias = rng.uniform(0.001, 0.01, 4).astype(np.float32), rng.integers(-999, 999, 4).astype(np.int32)
    zero, none = np.array(-3, np.int8), np.zeros(4, np.int8)
    arrays = (x, np.float32(0.1)[...], zero, w, scale, none, np.float32(0.5)[...], zero, bias)
    (y,) = QLinearConv(padding=1).reference(*arrays)
    floats = [0.1 * (x + 3.0), w * scale.reshape(-1, 1, 1, 1).astype(float), 0.1 * scale * bias]
    want = Conv2d(4, 3, padding=1).reference(*floats)[0] / 0.5 - 3
    assert abs(y - want.clip(-128, 127)).max() <= 0.501
    assert len(np.unique(y)) > 20


def test_attributes() -> None:
    with pytest.raises(ShapeError, match="block"):
        QuantizeLinear(1, -2)
    types = (TensorType((5, 4)), TensorType((2, 4)), TensorType((2, 4), "uint8"))
    with pytest.raises(ShapeError, match=r"float32\[3, 4\]"):
        QuantizeLinear(0, 2).infer(*types)
