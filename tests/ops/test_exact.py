"""Element-wise operators on numbers whose results are known: integers, ties, signs, NaN, empty arrays."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops, reference
from nbcnn.errors import ShapeError
from nbcnn.ir import TensorType

INF, NAN = np.inf, np.nan


def run(name: str, *arrays: object, dtype: str = "float32", **fields: object) -> np.ndarray:
    given = [a if isinstance(a, np.ndarray) else np.array(a, dtype) for a in arrays]
    (result,) = ops.get(name)(**fields).reference(*given)
    return result


@pytest.mark.parametrize(
    "name, a, b, want, dtype, fields",
    [
        ("div", [7, -7, 7, -7, 6, 5], [2, 2, -2, -2, 3, 0], [3, -3, -3, 3, 2, 0], "int32", {}),
        ("div", [255, 7], [2, 9], [127, 0], "uint8", {}),
        ("div", [1, -1, 0], [0, 0, 0], [INF, -INF, NAN], "float32", {}),
        ("mod", [7, -7, 7, -7], [3, 3, -3, -3], [1, 2, -2, -1], "int32", {}),
        ("mod", [7, -7, 7, -7], [3, 3, -3, -3], [1, -1, 1, -1], "int32", {"fmod": True}),
        ("mod", [5.5, -5.5, 5.5, 1], [3, 3, -3, 0], [2.5, -2.5, 2.5, NAN], "float32", {"fmod": True}),
        ("mod", [5.5, -5.5, 5.5], [3, 3, -3], [2.5, 0.5, -0.5], "float32", {}),
        ("pow", [2, -2, 3, 1, -1, 2], [3, 3, 0, -4, -3, -1], [8, -8, 1, 1, -1, 0], "int64", {}),
        ("pow", [0, 2, -8], [0, -1, 3], [1, 0.5, -512], "float32", {}),
        ("minimum", [1, NAN, 2, -0.0], [NAN, 1, -3, 0.0], [NAN, NAN, -3, 0], "float32", {}),
        ("maximum", [1, NAN, 2], [NAN, 1, -3], [NAN, NAN, 2], "float32", {}),
        ("prelu", [-2, 3, -0.0, NAN], [0.5, 9, 9, 1], [-1, 3, 0, NAN], "float32", {}),
        ("bit_shift", [1, 200, 3], [3, 1, 9], [8, 144, 0], "uint8", {}),
        ("bit_shift", [-8, 4, -1, -8], [1, 1, 99, -1], [-4, 2, -1, -1], "int8", {"direction": "right"}),
        ("bit_shift", [-8, 64, 1], [1, 1, 8], [-16, -128, 0], "int8", {}),
        ("bitwise_xor", [6, -1], [3, 5], [5, -6], "int32", {}),
        ("equal", [1, NAN, INF], [1, NAN, INF], [True, False, True], "float32", {}),
        ("less_equal", [1, 2, NAN], [1, 1, 1], [True, False, False], "float32", {}),
        ("logical_xor", [True, True, False], [True, False, False], [False, True, False], "bool", {}),
    ],
)
def test_two_operands(name, a, b, want, dtype, fields) -> None:
    got = run(name, a, b, dtype=dtype, **fields)
    assert got.dtype == (bool if isinstance(want[0], bool) else dtype)
    np.testing.assert_array_equal(got, np.array(want, got.dtype))


@pytest.mark.parametrize(
    "name, x, want, fields",
    [
        ("round", [0.5, 1.5, 2.5, -0.5, -1.5, 2.4], [0, 2, 2, 0, -2, 2], {}),
        ("sign", [-3, 0, 2, NAN], [-1, 0, 1, NAN], {}),
        ("clip", [-2, 0.5, 9, NAN], [-1, 0.5, 1, NAN], {"min": -1.0, "max": 1.0}),
        ("clip", [-2, 0, 9], [1, 1, 1], {"min": 3.0, "max": 1.0}),
        ("shrink", [-1, -0.5, 0.2, 0.5, 2], [-0.75, 0, 0, 0, 1.75], {"bias": 0.25}),
        ("thresholded_relu", [1, 1.5, -2], [0, 1.5, 0], {}),
        ("hardmax", [1, 5, 5, 2], [0, 1, 0, 0], {}),
        ("log", [0, 1], [-INF, 0], {}),
        ("sqrt", [4, 0], [2, 0], {}),
        ("reciprocal", [0, 2, INF], [INF, 0.5, 0], {}),
        ("is_inf", [INF, -INF, 1, NAN], [False, True, False, False], {"positive": False}),
        ("is_nan", [INF, NAN, 1], [False, True, False], {}),
        ("cast", [1.9, -1.9, 0], [1, -1, 0], {"to": "int32"}),
        ("cast", [0.5, 0, NAN], [True, False, True], {"to": "bool"}),
    ],
)
def test_one_operand(name, x, want, fields) -> None:
    got = run(name, x, **fields)
    np.testing.assert_array_equal(got, np.array(want, got.dtype))


def test_whole_numbers_keep_to_their_dtype() -> None:
    x = np.array([-128, 5, 127], np.int8)
    np.testing.assert_array_equal(run("clip", x, min=-1e9, max=100.5), [-128, 5, 100])
    assert run("abs", np.array([-3], np.int64)).dtype == np.int64
    got = run("where", np.array([True, False]), np.array([1, 2], np.int16), np.array(9, np.int16))
    np.testing.assert_array_equal(got, np.array([1, 9], np.int16))


def test_empty_arrays_and_single_numbers() -> None:
    empty = np.zeros((0, 3), np.float32)
    for name in ("add", "div", "less", "pow"):
        assert run(name, empty, np.float32(2)).shape == (0, 3)
    for name in ("exp", "clip", "celu", "is_nan", "softmax", "log_softmax", "hardmax"):
        assert run(name, empty).shape == (0, 3)
    for name in ("softmax", "log_softmax", "hardmax"):
        assert run(name, empty.T, axis=1).shape == (3, 0)
    for name in ("exp", "relu", "mish", "is_inf", "erf"):
        assert run(name, 0.25).shape == ()
    assert run("sub", 1, 2).shape == ()


@pytest.mark.parametrize(
    "name, fields, word",
    [
        ("cast", {"to": "float23"}, "unknown dtype 'float23'"),
        ("bit_shift", {"direction": "up"}, "direction"),
        ("celu", {"alpha": 0.0}, "alpha"),
        ("shrink", {"lambd": -1.0}, "lambd"),
        ("clip", {"min": float("nan")}, "min"),
        ("silu", {"alpha": float("inf")}, "alpha"),
    ],
)
def test_bad_attributes(name, fields, word) -> None:
    with pytest.raises(ShapeError, match=word):
        ops.get(name)(**fields)


def test_dtypes_of_two_operands() -> None:
    x, half = TensorType(("N", 3)), TensorType(("N", 3), "float16")
    with pytest.raises(ShapeError, match="one dtype"):
        ops.get("less")().infer(x, half)
    assert ops.get("pow")().infer(half, TensorType((), "int32")) == (half,)
    assert ops.get("equal")().infer(x, TensorType((3,))) == (TensorType(("N", 3), "bool"),)


def test_the_bound_of_a_comparison_knows_where_it_may_tip() -> None:
    a, b = np.array([1.0, 1.0, 1.0]), np.array([1.1, 1.5, 0.95])
    e = np.full(3, 0.1)
    (limit,) = ops.get("less")().error((a, b), (e, e), 2.0**-24)
    np.testing.assert_array_equal(limit, [1, 0, 1])
    (limit,) = ops.get("less")().error((a, b), (0 * e, 0 * e), 2.0**-24)
    np.testing.assert_array_equal(limit, 0)
    assert reference.excess(ops.get("less")(), (a, b), np.array([False, True, False])) > 1e300
