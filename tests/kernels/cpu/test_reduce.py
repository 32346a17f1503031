"""Reductions along all sets of axes, of values in the caller's order and in a kernel's."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from single_node import as_pixels
from sites import check, compiled, families
from strategies import Builder

from nbcnn.ops import reduce
from nbcnn.ops.conv2d import Conv2d

OPS = [
    reduce.ReduceSum,
    reduce.ReduceMean,
    reduce.ReduceProd,
    reduce.ReduceL1,
    reduce.ReduceSumSquare,
    reduce.ReduceL2,
    reduce.ReduceMax,
    reduce.ReduceMin,
]
AXES = [c for n in (1, 2, 3) for c in combinations((1, 2, 3), n)]


def both(build: Builder, *shape: int) -> list[str]:
    x = build.input(*shape)
    return [x, as_pixels(build, x)]


@pytest.mark.parametrize("shape", [(21, 5, 7), (80, 3, 4), (3, 9, 33), (1, 6, 1)], ids=str)
@pytest.mark.parametrize("keepdims", (True, False))
def test_any_axes(shape: tuple[int, ...], keepdims: bool) -> None:
    build = Builder()
    values = both(build, *shape)
    names = [
        build(f"{v}{''.join(map(str, axes))}", reduce.ReduceMean(axes, keepdims), v)
        for v in values
        for axes in AXES
    ]
    check(build.graph(*names))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_operator(op) -> None:
    build = Builder()
    names = [
        build(f"{v}{''.join(map(str, axes))}", op(axes), v)
        for v in both(build, 37, 5, 3)
        for axes in ((2, 3), (1,), (1, 3))
    ]
    check(build.graph(*names))


def test_logarithm_of_sums_of_positive_numbers() -> None:
    build = Builder()
    x = build("square", reduce.ReduceSumSquare((3,), False), build.input(20, 6, 5))
    check(build.graph(build("a", reduce.ReduceLogSum((1,)), x), build("b", reduce.ReduceLogSum((2,)), x)))


@pytest.mark.parametrize("shape", [(17,), (5, 40), (40, 5), (3, 4, 5, 6), (20, 2, 3, 5)], ids=str)
def test_other_ranks(shape: tuple[int, ...]) -> None:
    build = Builder()
    values = both(build, *shape)
    last = len(shape)
    sets = [(1,), (last,), tuple(range(1, last + 1)), *((i, i + 1) for i in range(1, last))]
    names = [
        build(f"{v}{axes}", reduce.ReduceSum(axes, False), v) for v in values for axes in sorted(set(sets))
    ]
    check(build.graph(*names))


def test_long_sums_keep_their_bound() -> None:
    build = Builder()
    x = build.input(3, 200, 301)
    y = as_pixels(build, x)
    check(
        build.graph(
            *(build(f"m{v}{a}", reduce.ReduceMean(a), v) for v in (x, y) for a in ((2, 3), (1, 2, 3)))
        )
    )


@pytest.mark.parametrize("op", (reduce.ReduceMax, reduce.ReduceMin), ids=lambda op: op.name)
@pytest.mark.parametrize("poke", (np.nan, np.inf, -np.inf))
def test_extrema_keep_nan_and_infinities(op, poke: float) -> None:
    build = Builder()
    x = build.input(21, 3, 7)
    y = build(
        "act",
        Conv2d(21, 1, groups=21, bias=False),
        x,
        **{"weight": build.weight("w", np.ones((21, 1, 1, 1)))},
    )
    graph = build.graph(*(build(f"{v}{a}", op(a), v) for v in (x, y) for a in ((2, 3), (1,))))
    array = np.random.default_rng(0).standard_normal((1, 21, 3, 7), np.float32)
    array.reshape(-1)[::50] = poke
    got = compiled(graph, 16)(array)
    for name, value in got.items():
        axes = (2, 3) if "2" in name else (1,)
        want = (np.max if op is reduce.ReduceMax else np.min)(array, axes, keepdims=True)
        np.testing.assert_array_equal(value, want)


def test_axes_in_three_stretches_run_through_the_reference() -> None:
    build = Builder()
    graph = build.graph(build("y", reduce.ReduceSum((1, 3, 5)), build.input(2, 3, 2, 3, 2, 3)))
    assert "reference" in families(compiled(graph, 8))
