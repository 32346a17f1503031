"""matmul on a device: every tail, broadcasting, constants on either side, padded rows."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np
import pytest
from launch_plain import KINDS, target
from one_operator import check, coarse, one, site
from precisions import ROUNDOFF
from run_steps import Memory, emit

from nbcnn import reference
from nbcnn.ir import TensorType
from nbcnn.kernels.cuda import matmul
from nbcnn.kernels.layouts import PLAIN, nhwc
from nbcnn.kernels.matmul import Pairs
from nbcnn.ops.activation import Relu
from nbcnn.ops.matmul import MatMul
from nbcnn.options import CompileOptions

SIZES = [(1, 1, 1), (5, 7, 3), (8, 8, 8), (9, 5, 17), (1, 21, 6), (3, 2, 33), (17, 33, 9)]


@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize("rows, depth, cols", SIZES)
def test_two_values(rows: int, depth: int, cols: int, kind: str, rng) -> None:
    check(one(MatMul(), ("N", 2, rows, depth), ("N", 2, depth, cols), rng=rng), kind, rng, 2)


@pytest.mark.parametrize(
    "left, right",
    [
        (("N", 4, 3, 2), (1, 2, 5)),
        (("N", 3, 2), ("N", 2, 5)),
        (("N", 1, 3, 2), ("N", 4, 2, 5)),
        (("N", 2, 3, 4, 2), (2, 5)),
        (("N", 3, 5), (5, 4)),
        (("N", 2, 1, 3, 2), ("N", 1, 3, 2, 4)),
        ((3, 2), ("N", 4, 2, 5)),
        ((4, 3, 2), ("N", 1, 2, 5)),
        (("N", 2, 1, 2, 2, 2), ("N", 1, 2, 2, 2, 2)),
        (("N", 1, 2, 1, 2, 3, 2), (2, 1, 1, 2, 2, 2)),
    ],
    ids=str,
)
def test_broadcast(left: tuple, right: tuple, rng) -> None:
    check(one(MatMul(), left, right, rng=rng), "f16", rng, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slot", [False, True])
def test_rows_that_are_padded(kind: str, slot: bool, rng) -> None:
    lanes = target(kind).lanes
    types = TensorType(("N", lanes + 3)), TensorType((lanes + 3, lanes + 1))
    (out,) = MatMul().infer(*types)
    given = emit(5, kind)
    memory = Memory(given)
    places = ((3 * lanes, lanes), (4 * lanes, 2 * lanes)) if slot else (None, None)
    left, right = memory.view(nhwc(types[0]), types[0], places[0]), memory.view(PLAIN, types[1])
    result = memory.view(nhwc(out), out, places[1])
    a = memory.put(left, coarse(rng, types[0].extents(5))).astype(np.float32)
    b = coarse(rng, types[1].extents(1))
    memory.bytes[right.buffer] = b.reshape(-1).view(np.uint8)
    others = memory.others(result, 2 * lanes).copy()
    memory.run(matmul.MatMul().steps(site(MatMul(), *types), (left, right), (result,), given))
    got = memory.get(result, out.extents(5)).astype(np.float32)
    assert reference.excess(MatMul(), [a, b], got, stored=ROUNDOFF[kind]) <= 1
    np.testing.assert_array_equal(memory.pads(result, 2 * lanes), 0)
    np.testing.assert_array_equal(memory.others(result, 2 * lanes), others)


@pytest.mark.parametrize("poke", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row_and_column(poke: float, rng) -> None:
    """Tails read the first element of each matrix."""
    types = TensorType(("N", 3, 5)), TensorType(("N", 5, 3))
    (out,) = MatMul().infer(*types)
    for which in (0, 1):
        given = emit(1)
        memory = Memory(given)
        views = [memory.view(PLAIN, t) for t in (*types, out)]
        arrays = [coarse(rng, t.extents(1)) for t in types]
        arrays[which][0, 0, 0] = poke
        for view, array in zip(views, arrays, strict=False):
            memory.put(view, array)
        memory.run(matmul.MatMul().steps(site(MatMul(), *types), tuple(views[:2]), (views[2],), given))
        with np.errstate(invalid="ignore"):
            want = arrays[0] @ arrays[1]
        np.testing.assert_allclose(memory.get(views[2], out.extents(1)), want, rtol=1e-5)


@pytest.mark.parametrize("each", [1, 2, 4, 8])
def test_every_tile(each: int, rng, monkeypatch) -> None:
    monkeypatch.setattr(matmul, "_time", lambda pairs, wide, n, target: abs(n - each))
    types = TensorType(("N", 9, 5)), TensorType(("N", 5, 19))
    (out,) = MatMul().infer(*types)
    given = emit(2)
    memory = Memory(given)
    views = [memory.view(PLAIN, t) for t in (*types, out)]
    a, b = (memory.put(v, coarse(rng, t.extents(2))) for v, t in zip(views, types, strict=False))
    (step,) = matmul.MatMul().steps(site(MatMul(), *types), tuple(views[:2]), (views[2],), given)
    tile = each * isqrt(given.target.threads)
    assert f"_{tile}__" in step.kernel.name and step.macs == 2 * 9 * 5 * 19
    memory.run([step])
    got = memory.get(views[2], out.extents(2)).astype(np.float32)
    assert reference.excess(MatMul(), [a.astype(np.float32), b.astype(np.float32)], got) <= 1


def test_tiles_are_as_large_as_keeps_the_device_busy() -> None:
    here = replace(target(), threads=256, multiprocessors=132)

    def tile(batch: int, rows: int, cols: int) -> str:
        types = TensorType(("N", rows, 64)), TensorType(("N", 64, cols))
        (out,) = MatMul().infer(*types)
        given = replace(emit(batch), target=here)
        memory = Memory(given)
        views = [memory.view(PLAIN, t) for t in (*types, out)]
        (step,) = matmul.MatMul().steps(site(MatMul(), *types), tuple(views[:2]), (views[2],), given)
        return step.kernel.name

    assert "_128__" in tile(8, 2048, 2048)
    assert "_64__" in tile(1, 512, 512) or "_32__" in tile(1, 512, 512)
    assert "_16__" in tile(12, 16, 16)


def test_axes_that_are_one_are_joined() -> None:
    joined = matmul.merged(((2, 12, 0, 24), (1, 7, 7, 7), (3, 4, 0, 8), (5, 2, 6, 9)))
    assert joined == [(6, 4, 0, 8), (5, 2, 6, 9)]


def test_what_is_no_product_of_matrices_is_refused() -> None:
    options, record = CompileOptions(), matmul.MatMul()

    def refusal(op, *types: TensorType) -> str | None:
        return record.refuse(site(op, *types), target(), options)

    rows = TensorType(("N", 4))
    assert refusal(MatMul(), rows, TensorType((4, 5))) is None
    assert "vector" in str(refusal(MatMul(), rows, TensorType((4,))))
    assert "no matmul" in str(refusal(Relu(), rows))
    left, right = ("N", 2, 1, 2, 1, 2, 1, 3, 4), ("N", 1, 2, 1, 2, 1, 2, 4, 3)
    many = TensorType(left), TensorType(right)
    assert len(Pairs.of(site(MatMul(), *many), 2).axes) == 7
    assert "more than 4 axes" in str(refusal(MatMul(), *many))
