"""Operators that pick, order, pad and reduce, beyond their samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbcnn import ops
from nbcnn.errors import InputError, ShapeError
from nbcnn.ir import TensorType


@given(st.integers(0, 7), st.lists(st.integers(-9, 9), min_size=3, max_size=3))
def test_slices_are_pythons(extent: int, numbers: list[int]) -> None:
    start, end, step = numbers
    x = np.arange(extent)
    if step == 0:
        return
    op = ops.get("slice")((start,), (end,), (0,), (step,))
    (y,) = op.reference(x)
    np.testing.assert_array_equal(y, x[start:end:step])
    assert op.infer(TensorType((extent,), "int64"))[0].shape == y.shape


@pytest.mark.parametrize("index", [4, -5])
def test_indices_outside_are_refused(index: int) -> None:
    x, indices = np.arange(4.0), np.array([[0], [index]])
    for op, arrays in (
        (ops.get("gather")(), (x, indices)),
        (ops.get("gather_elements")(), (x[:, None], indices)),
        (ops.get("gather_nd")(), (x, indices)),
        (ops.get("scatter_elements")(), (x[:, None], indices, indices * 1.0)),
        (ops.get("scatter_nd")(), (x, indices, np.zeros(2))),
    ):
        with pytest.raises(InputError, match=f"index {index} lies outside an axis of 4"):
            op.reference(*arrays)


def test_nothing_gathered() -> None:
    (y,) = ops.get("gather")().reference(np.ones((0, 3)), np.zeros((2, 0), np.int64))
    assert y.shape == (2, 0, 3)


def test_the_last_of_several_updates_stays() -> None:
    x, places, updates = np.zeros((1, 3)), np.array([[1, 1, -2]]), np.array([[5.0, 6.0, 7.0]])
    found = {
        combine: ops.get("scatter_elements")(1, combine).reference(x + 2, places, updates)[0][0, 1]
        for combine in ("none", "add", "mul", "max", "min")
    }
    assert found == {"none": 7, "add": 20, "mul": 420, "max": 7, "min": 2}


def test_equal_elements_keep_their_order() -> None:
    x = np.array([[3, 1, 3, 2, 1]])
    values, places = ops.get("top_k")(5).reference(x)
    np.testing.assert_array_equal(values, [[3, 3, 2, 1, 1]])
    np.testing.assert_array_equal(places, [[0, 2, 3, 1, 4]])
    _, places = ops.get("top_k")(5, largest=False).reference(x.astype(np.uint8))
    np.testing.assert_array_equal(places, [[1, 4, 3, 0, 2]])
    for name, first, last in (("arg_max", 0, 2), ("arg_min", 1, 4)):
        for dtype in (np.float32, np.int8, np.uint8):
            assert ops.get(name)(1, False).reference(x.astype(dtype))[0] == first
            assert ops.get(name)(1, False, True).reference(x.astype(dtype))[0] == last
    assert ops.get("arg_min")(0).reference(np.array([0, -128, 127], np.int8))[0] == 1


def test_one_hot() -> None:
    off_on = np.array([2.0, 5.0])
    (y,) = ops.get("one_hot")(3).reference(np.array([1, -1, 3, -4]), off_on)
    np.testing.assert_array_equal(y, [[2, 5, 2], [2, 2, 5], [2, 2, 2], [2, 2, 2]])


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pads_after_cutting(mode: str, rng) -> None:
    x = rng.standard_normal((2, 6))
    (y,) = ops.get("pad")((2, -1, -3, 2), mode=mode, axes=(1, 0)).reference(np.stack([x[0], x[1], x[0]]))
    kept = np.stack([x[1], x[0]])[:, :3]
    np.testing.assert_array_equal(y, np.pad(kept, ((0, 2), (2, 0)), mode=mode))


EMPTY = {
    "reduce_sum": 0.0,
    "reduce_prod": 1.0,
    "reduce_l1": 0.0,
    "reduce_l2": 0.0,
    "reduce_sum_square": 0.0,
    "reduce_max": -np.inf,
    "reduce_min": np.inf,
    "reduce_log_sum": -np.inf,
    "reduce_log_sum_exp": -np.inf,
}


@pytest.mark.parametrize("name", EMPTY)
def test_reductions_of_nothing(name: str) -> None:
    (y,) = ops.get(name)((1,)).reference(np.ones((2, 0, 3), np.float32))
    assert y.shape == (2, 1, 3)
    assert (y == EMPTY[name]).all()
    assert y.dtype == np.float32


def test_extrema_of_no_integers() -> None:
    assert ops.get("reduce_max")((0,)).reference(np.ones((0,), np.int8))[0] == -128
    assert ops.get("reduce_min")((0,)).reference(np.ones((0,), np.uint8))[0] == 255
    assert not ops.get("reduce_max")((0,)).reference(np.ones((0,), bool))[0]


def test_integers_wrap_around_and_means_lose_their_fraction() -> None:
    x = np.array([2**31 - 1, 1], np.int32)
    assert ops.get("reduce_sum")().reference(x)[0] == -(2**31)
    assert ops.get("reduce_mean")().reference(np.array([1, 2], np.int32))[0] == 1
    assert ops.get("reduce_mean")().reference(np.array([-1, -2], np.int32))[0] == -1


def test_log_sum_exp_does_not_overflow() -> None:
    x = np.array([1000.0, 1000.0, -1000.0], np.float32)
    np.testing.assert_allclose(ops.get("reduce_log_sum_exp")().reference(x)[0], [1000 + np.log(2)])


def test_blocks_are_inverse_and_pixel_shuffle(rng) -> None:
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 18, 4, 5))
    for mode in ("DCR", "CRD"):
        (y,) = ops.get("depth_to_space")(3, mode).reference(x)
        np.testing.assert_array_equal(ops.get("space_to_depth")(3, mode).reference(y)[0], x)
    np.testing.assert_array_equal(y, torch.nn.functional.pixel_shuffle(torch.from_numpy(x), 3).numpy())


def test_allowzero() -> None:
    reshape = ops.get("reshape")
    assert reshape((3, 0), allowzero=True).infer(TensorType((0, 2)))[0].shape == (3, 0)
    assert reshape((3, 2), allowzero=True) == reshape((3, 2))
    with pytest.raises(ShapeError, match="N in front"):
        reshape(("N", 0), allowzero=True)


@pytest.mark.parametrize(
    "name, fields, word",
    [
        ("slice", {"starts": (1,), "ends": (1, 2)}, "ends"),
        ("slice", {"starts": (1,), "ends": (2,), "steps": (0,)}, "steps"),
        ("slice", {"starts": (1,), "ends": (2,), "axes": (1, 2)}, "axes"),
        ("expand", {"shape": (-1, 2)}, "negative"),
        ("tile", {"repeats": (1, -1)}, "repeats"),
        ("split", {"sizes": (-1, 2)}, "sizes"),
        ("depth_to_space", {"blocksize": 0}, "blocksize"),
        ("one_hot", {"depth": 0}, "depth"),
        ("gemm", {"alpha": float("nan")}, "alpha"),
        ("einsum", {"equation": "ij,jk->ik->"}, "equation"),
        ("einsum", {"equation": "ij->ii"}, "twice"),
        ("einsum", {"equation": "i1->i"}, "equation"),
    ],
)
def test_bad_attributes_are_refused(name: str, fields: dict, word: str) -> None:
    with pytest.raises(ShapeError, match=word):
        ops.get(name)(**fields)
