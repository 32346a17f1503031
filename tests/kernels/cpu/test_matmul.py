"""matmul: every tail, broadcasting, constants on either side."""

from __future__ import annotations

import pytest
from single_node import as_pixels
from sites import check
from strategies import Builder

from nbcnn.ops.activation import Relu
from nbcnn.ops.matmul import MatMul

SIZES = [
    (1, 1, 1),
    (5, 7, 3),
    (8, 16, 32),
    (9, 33, 40),
    (1, 64, 70),
    (17, 5, 31),
    (3, 300, 16),
    (9, 1100, 35),
]


@pytest.mark.parametrize("rows, depth, cols", SIZES)
def test_two_values(rows: int, depth: int, cols: int) -> None:
    build = Builder()
    a, b = build.input(3, rows, depth, name="a"), build.input(3, depth, cols, name="b")
    check(build.graph(build("y", MatMul(), as_pixels(build, a), b)))


@pytest.mark.parametrize("rows, depth, cols", SIZES)
def test_a_constant(rows: int, depth: int, cols: int) -> None:
    build = Builder()
    a, row = build.input(rows, depth, name="a"), build.input(depth, name="row")
    build.weight("b", build.rng.normal(size=(depth, cols)))
    y = build("act", Relu(), build("y", MatMul(), a, "b"))
    check(build.graph(y, build("z", MatMul(), as_pixels(build, row), "b"), build("w", MatMul(), row, "b")))


@pytest.mark.parametrize(
    "left, right",
    [((2, 4, 5, 6), (1, 6, 7)), ((1, 5, 6), (3, 6, 7)), ((2, 3, 5, 6), (6, 7)), ((5, 6), (4, 1, 6, 7))],
    ids=str,
)
def test_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*left)
    build.weight("b", build.rng.normal(size=right))
    build.weight("a", build.rng.normal(size=(9, left[-2])))
    check(
        build.graph(
            *([build("y", MatMul(), x, "b")] if len(left) >= len(right) else []), build("z", MatMul(), "a", x)
        )
    )


def test_attention() -> None:
    build = Builder()
    q, k = build.input(4, 19, 8, name="q"), build.input(4, 8, 19, name="k")
    check(build.graph(build("twice", MatMul(), build("scores", MatMul(), q, k), q)))
