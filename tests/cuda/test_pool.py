"""Pools on a device, in every type of images: windows, padding, slots of wider buffers, bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from launch_plain import KINDS, target
from one_operator import check, coarse, one, site
from precisions import ROUNDOFF
from run_steps import Memory, emit

from nbcnn import reference
from nbcnn.ir import Op, TensorType
from nbcnn.kernels.cuda.pool import GlobalPool, WindowPool
from nbcnn.kernels.layouts import nhwc
from nbcnn.ops.activation import Relu
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.options import CompileOptions

kinds = pytest.mark.parametrize("kind", KINDS)
WINDOWS = [
    (MaxPool(3, 2, 1), (11, 5, 4)),
    (MaxPool((2, 3), (3, 1), (1, 0, 0, 2), dilation=(2, 1)), (8, 5, 6)),
    (AvgPool(3, 2, 1, ceil_mode=True), (5, 4, 5)),
    (AvgPool(3, 2, 1, ceil_mode=True, count_include_pad=True), (9, 4, 3)),
    (AvgPool((2, 1), 1, (1, 0, 0, 0), dilation=(2, 1), count_include_pad=True), (3, 4, 2)),
    (MaxPool(3, 2, 1), (5, 9)),
    (AvgPool(2, 2, 1, count_include_pad=True), (9, 7)),
    (MaxPool((2, 3, 1), (1, 2, 2), (1, 1, 0, 0, 1, 0)), (5, 3, 4, 3)),
    (AvgPool(2, 1, 1, count_include_pad=True), (3, 2, 3, 2)),
    (GlobalAvgPool(), (11, 5, 7)),
    (GlobalMaxPool(), (3, 4, 5)),
    (GlobalAvgPool(), (21, 6)),
    (GlobalMaxPool(), (9, 2, 3, 2)),
    (GlobalAvgPool(), (5, 1, 1)),
]


def record(op: Op) -> WindowPool | GlobalPool:
    return GlobalPool() if op.name.startswith("global") else WindowPool()


@kinds
@pytest.mark.parametrize("op, shape", WINDOWS, ids=str)
def test_within_bounds(op: Op, shape: tuple[int, ...], kind: str, rng) -> None:
    check(one(op, ("N", *shape), rng=rng), kind, rng, 2)


@kinds
@pytest.mark.parametrize(
    "op", [MaxPool(2, 1, 1), AvgPool(2, 1, 1), GlobalAvgPool(), GlobalMaxPool()], ids=str
)
def test_in_slots_of_wider_buffers(op: Op, kind: str, rng) -> None:
    lanes = target(kind).lanes
    type_ = TensorType(("N", lanes + 3, 2, 3))
    (out,) = op.infer(type_)
    given = emit(2, kind)
    memory = Memory(given)
    source = memory.view(nhwc(type_), type_, slot=(4 * lanes, lanes))
    result = memory.view(nhwc(out), out, slot=(5 * lanes, 2 * lanes))
    before = memory.others(result, 2 * lanes).copy()
    x = memory.put(source, coarse(rng, type_.extents(2))).astype(np.float32)
    memory.run(record(op).steps(site(op, type_), (source,), (result,), given))
    got = memory.get(result, out.extents(2)).astype(np.float32)
    assert reference.excess(op, [x], got, stored=ROUNDOFF[kind]) <= 1
    np.testing.assert_array_equal(memory.pads(result, 2 * lanes), 0)
    np.testing.assert_array_equal(memory.others(result, 2 * lanes), before)


@kinds
def test_maxima_keep_nan_and_infinities(kind: str, rng) -> None:
    type_ = TensorType(("N", 3, 3, 4))
    for op in (MaxPool(2, 1), GlobalMaxPool()):
        for poke in (np.nan, np.inf, -np.inf):
            (out,) = op.infer(type_)
            given = emit(2, kind)
            memory = Memory(given)
            source, result = memory.view(nhwc(type_), type_), memory.view(nhwc(out), out)
            x = coarse(rng, type_.extents(2))
            x[0, 0], x[1, 1, 1, 2] = -np.inf, poke
            memory.put(source, x)
            memory.run(record(op).steps(site(op, type_), (source,), (result,), given))
            np.testing.assert_array_equal(memory.get(result, out.extents(2)), op.reference(x)[0])


@kinds
@pytest.mark.parametrize("op", [GlobalAvgPool(), GlobalMaxPool()], ids=str)
def test_few_large_planes_are_shared_by_several_blocks(op: Op, kind: str, rng) -> None:
    type_ = TensorType(("N", 2, 17, 19))
    (out,) = op.infer(type_)
    few = emit(1, kind)
    given = replace(few, target=replace(few.target, multiprocessors=3))
    memory = Memory(given)
    source, result = memory.view(nhwc(type_), type_), memory.view(nhwc(out), out)
    x = memory.put(source, coarse(rng, type_.extents(1))).astype(np.float32)
    steps = record(op).steps(site(op, type_), (source,), (result,), given)
    assert len(steps) == 2 and steps[0].grid[1] > 1
    memory.run(steps)
    got = memory.get(result, out.extents(1)).astype(np.float32)
    assert reference.excess(op, [x], got, stored=ROUNDOFF[kind]) <= 1
    np.testing.assert_array_equal(memory.pads(result, result.pitch), 0)


def test_what_is_no_pool_is_refused() -> None:
    type_, options = TensorType(("N", 4, 4, 4)), CompileOptions()
    pools = (WindowPool(), GlobalPool())
    for op, served in ((MaxPool(2), 0), (AvgPool(2), 0), (GlobalAvgPool(), 1), (GlobalMaxPool(), 1)):
        reasons = [kernel.refuse(site(op, type_), target(), options) for kernel in pools]
        assert reasons[served] is None and reasons[1 - served]
    for kernel in pools:
        assert "relu" in str(kernel.refuse(site(Relu(), type_), target(), options))
