"""Softmax on a device: lengths, types of images, padding, rows that hold infinities or no numbers."""

from __future__ import annotations

import numpy as np
import pytest
from launch_plain import KINDS
from one_operator import check, coarse, one, site
from precisions import ROUNDOFF
from run_steps import Memory, emit

from nbcnn import reference
from nbcnn.ir import Op, TensorType
from nbcnn.kernels.cuda.softmax import Softmax, group_of
from nbcnn.kernels.layouts import PLAIN, Layout, nhwc
from nbcnn.ops.softmax import Hardmax, LogSoftmax
from nbcnn.ops.softmax import Softmax as SoftmaxOp
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

kinds = pytest.mark.parametrize("kind", KINDS)
ops = pytest.mark.parametrize("op", [SoftmaxOp, LogSoftmax])


@kinds
@ops
@pytest.mark.parametrize(
    "axis, shape",
    [
        (1, ("N", 1)),
        (1, ("N", 5)),
        (1, ("N", 32)),
        (1, ("N", 133)),
        (1, ("N", 3, 2, 3)),
        (1, ("N", 21, 3, 3)),
        (-1, ("N", 3, 7)),
        (-1, ("N", 2, 3, 2, 2, 5)),
    ],
)
def test_lengths(op: type[Op], axis: int, shape, kind: str, rng) -> None:
    check(one(op(axis), shape, rng=rng), kind, rng, 1, 3)  # type: ignore[call-arg]


def run(op: Op, array: np.ndarray, layout: Layout, kind: str, slot: tuple[int, int] | None = None):
    """The result, and the operand as it was rounded; nothing but the result's pixels is written."""
    given = emit(len(array), kind)
    memory, type_ = Memory(given), TensorType(("N", *array.shape[1:]))
    x, out = memory.view(layout, type_), memory.view(layout, type_, slot)
    exact = memory.put(x, array)
    memory.run(Softmax().steps(site(op, type_), (x,), (out,), given))
    if layout != PLAIN:
        wide = -(-array.shape[1] // given.target.lanes) * given.target.lanes
        assert not memory.pads(out, wide).any()
        assert (memory.others(out, wide) == 0xFF).all()
    return memory.get(out, array.shape).astype(np.float32), exact


@kinds
@ops
def test_slot_in_wider_pixels(op: type[Op], kind: str, rng) -> None:
    array = coarse(rng, (2, 11, 2, 2))
    layout = nhwc(TensorType(("N", 11, 2, 2)))
    found, exact = run(op(1), array, layout, kind, (32, 8))  # type: ignore[call-arg]
    assert reference.excess(op(1), [exact], [found], stored=ROUNDOFF[kind]) <= 1  # type: ignore[call-arg]


@pytest.mark.parametrize("length", [7, 40])
def test_in_place(length: int, rng) -> None:
    """Three rows: some threads of a block have none."""
    given, type_ = emit(3), TensorType(("N", length))
    memory = Memory(given)
    x = memory.view(nhwc(type_), type_)
    exact = memory.put(x, coarse(rng, type_.extents(3)))
    memory.run(Softmax().steps(site(SoftmaxOp(1), type_), (x,), (x,), given))
    found = memory.get(x, exact.shape).astype(np.float32)
    assert reference.excess(SoftmaxOp(1), [exact], [found]) <= 1


@ops
@pytest.mark.filterwarnings("ignore:invalid value encountered in subtract")
def test_infinities_and_no_numbers(op: type[Op]) -> None:
    rows = np.array(
        [
            [1e38, -1e38, 1e38, 0, 0, 0],
            [-300, -300, -300, -300, -300, -300],
            [0, -200, -np.inf, 1, 2, 3],
            [-np.inf] * 6,
            [0, 1, np.inf, 1, 1, 1],
            [0, 1, 2, 3, 4, np.nan],
        ],
        np.float32,
    )
    found, _ = run(op(), rows, PLAIN, "f32")
    (want,) = op().reference(rows.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    numbers = ~np.isnan(want)
    np.testing.assert_allclose(found[numbers], want[numbers], rtol=1e-6, atol=1e-30)


def test_threads_of_a_row() -> None:
    target = CudaTarget("GPU", (9, 0), 132, 232448)
    assert [group_of(n, target) for n in (1, 7, 8, 21, 1000, 21843)] == [1, 1, 2, 4, 128, 256]


def test_refusals() -> None:
    target, options, softmax = emit(1).target, CompileOptions(), Softmax()
    image = TensorType(("N", 4, 5, 6))
    assert softmax.refuse(site(SoftmaxOp(1), image), target, options) is None
    assert softmax.refuse(site(SoftmaxOp(-1), image), target, options) is None
    assert "only axis 1 and the last" in str(softmax.refuse(site(SoftmaxOp(2), image), target, options))
    assert "no softmax" in str(softmax.refuse(site(Hardmax(1), image), target, options))
