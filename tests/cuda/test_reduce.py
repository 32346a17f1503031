"""Reductions on a device along all sets of axes, of values in their plain order and as pixels."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from launch_plain import KINDS, target
from one_operator import check, coarse, site
from precisions import ROUNDOFF
from run_steps import Memory, emit
from single_node import as_pixels
from strategies import Builder

from nbcnn import reference
from nbcnn.ir import Op, TensorType
from nbcnn.kernels.cuda.reduce import HOW, Reduce
from nbcnn.kernels.cuda.reduction import Reduction, team_of
from nbcnn.kernels.layouts import PLAIN, nhwc
from nbcnn.kernels.orders import Axis
from nbcnn.ops import reduce
from nbcnn.ops.activation import Relu
from nbcnn.ops.lp_pool import GlobalLpPool
from nbcnn.options import CompileOptions

CHAINS = 4
"""Sums of a thread (``simt/reduce.py``)."""

OPS = {op.name: op for op in vars(reduce).values() if getattr(op, "name", None) in HOW}
AXES = [c for n in (1, 2, 3) for c in combinations((1, 2, 3), n)]
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize("shape", [(9, 3, 5), (16, 2, 2), (1, 4, 3), (3, 1, 7)], ids=str)
@pytest.mark.parametrize("keepdims", [True, False])
def test_any_axes(shape: tuple[int, ...], keepdims: bool, kind: str, rng) -> None:
    build = Builder()
    x = build.input(*shape)
    names = [
        build(f"{v}{axes}", reduce.ReduceMean(axes, keepdims), v)
        for v in (x, as_pixels(build, x))
        for axes in AXES
    ]
    check(build.graph(*names), kind, rng, 2)


@kinds
@pytest.mark.parametrize("name", HOW)
def test_every_operator(name: str, kind: str, rng) -> None:
    for shape, axes, layout in (((5, 2, 3), (2, 3), nhwc), ((3, 4), (2,), lambda _: PLAIN)):
        type_, op = TensorType(("N", *shape)), OPS[name](axes)
        x = rng.uniform(0.5, 2, type_.extents(2)).astype(np.float32)
        holds(op, type_, layout(type_), x, kind)


def holds(op: Op, type_: TensorType, layout, x: np.ndarray, kind: str, multiprocessors: int = 1) -> int:
    """The result is within its bound, and its padding 0; how many steps that took."""
    few = emit(len(x), kind)
    given = replace(few, target=replace(few.target, multiprocessors=multiprocessors))
    memory, (out,) = Memory(given), op.infer(type_)
    source = memory.view(layout, type_)
    result = memory.view(Reduce().writes(site(op, type_), (layout,))[0], out)
    read = memory.put(source, x).astype(np.float32)
    steps = Reduce().steps(site(op, type_), (source,), (result,), given)
    memory.run(steps)
    got = memory.get(result, out.extents(len(x))).astype(np.float32)
    assert reference.excess(op, [read], got, stored=ROUNDOFF[kind]) <= 1
    if result.layout != PLAIN:
        np.testing.assert_array_equal(memory.pads(result, result.pitch), 0)
    return len(steps)


@pytest.mark.parametrize(
    "shape, axes",
    [((17,), (1,)), ((5, 9), (2,)), ((9, 5), (1,)), ((3, 2, 3, 4), (1, 2, 4)), ((9, 2, 3, 2), (2, 4))],
    ids=str,
)
@pytest.mark.parametrize("keepdims", [True, False])
def test_other_ranks(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool, rng) -> None:
    type_, op = TensorType(("N", *shape)), reduce.ReduceSum(axes, keepdims)
    x = coarse(rng, type_.extents(2))
    for layout in (PLAIN, nhwc(type_)):
        assert holds(op, type_, layout, x, "f16") == 1


@pytest.mark.parametrize("name", sorted(set(HOW) - {"reduce_prod"}))
def test_few_results_of_many_elements_are_shared_by_several_blocks(name: str, rng) -> None:
    type_, op = TensorType(("N", 3, 9, 31)), OPS[name]
    x = rng.uniform(0.5, 2, type_.extents(1)).astype(np.float32)
    for axes, layout in (((1, 2, 3), PLAIN), ((2, 3), PLAIN), ((2, 3), nhwc(type_))):
        assert holds(op(axes), type_, layout, x, "f16", multiprocessors=4) == 2


def test_long_sums_are_sums_of_short_ones() -> None:
    """All rounding errors of equal terms point the same way."""
    count, given = 30_000, emit(1)
    memory, type_ = Memory(given), TensorType(("N", count))
    source, result = memory.view(PLAIN, type_), memory.view(PLAIN, TensorType(("N", 1)))
    memory.put(source, np.full((1, count), 0.1, np.float32))
    axes = ([Axis(1, 1, 1)], 1, [Axis(count, 1, 0)], False)
    sums = Reduction(("f32", "f32"), (source.address, result.address), HOW["reduce_sum"], 1.0, *axes)
    team = team_of(count, False, given.target)
    memory.run([sums.step(site(Relu(), type_), given.target, 0)])
    terms = count / (team * CHAINS)  # of one chain, 64 at a time
    exact = count * float(np.float32(0.1))
    assert abs(memory.get(result, (1, 1)) - exact) <= (64 + terms / 64 + 8) * 2.0**-24 * exact


def test_in_a_graph_with_scratch(rng) -> None:
    """What lies between both steps has memory of its own."""
    build = Builder()
    x = build.input(3, 7, 13)
    check(build.graph(build("y", reduce.ReduceMean((1, 2, 3)), build("r", Relu(), x))), "f32", rng, 1)


@kinds
@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
@pytest.mark.parametrize("poke", [np.nan, np.inf, -np.inf])
def test_extrema_keep_nan_and_infinities(name: str, poke: float, kind: str, rng) -> None:
    type_ = TensorType(("N", 5, 3, 4))
    x = coarse(rng, type_.extents(2))
    x.reshape(-1)[::11] = poke
    for axes in ((1,), (2, 3), (3,)):
        for layout in (PLAIN, nhwc(type_)):
            holds(OPS[name](axes), type_, layout, x, kind)


def test_what_it_cannot_reduce_is_refused() -> None:
    options, image = CompileOptions(), TensorType(("N", 3, 4, 5))

    def refusal(op: Op, type_: TensorType = image) -> str | None:
        return Reduce().refuse(site(op, type_), target(), options)

    for op in OPS.values():
        assert refusal(op((2, 3))) is None and refusal(op((1, 3))) is None
    assert "no reduction" in str(refusal(reduce.ReduceLogSumExp((1,))))
    assert "no reduction" in str(refusal(GlobalLpPool()))
    assert "batch" in str(refusal(reduce.ReduceSum((0,)), TensorType((3, 4))))
    six = TensorType(("N", 2, 3, 2, 3, 2, 3))
    assert refusal(reduce.ReduceSum((2, 4, 6)), six) is None
    assert "separate" in str(refusal(reduce.ReduceSum((1, 3, 5)), six))
