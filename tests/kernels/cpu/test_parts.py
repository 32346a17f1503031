"""concat, split and slice along any axis, of values that lie in any order."""

from __future__ import annotations

import pytest
from single_node import sources, split_apart
from sites import check, compiled, families
from strategies import Builder

from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.slice import END, Slice
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze

SHAPES = [(21, 5, 6), (1, 4, 5), (16, 6), (3, 4, 5, 6), (37, 1, 7), (6, 5, 1)]
PLACES = [(shape, axis) for shape in SHAPES for axis in (1, 2, 3, -1) if axis <= len(shape)]


@pytest.mark.parametrize("shape, axis", PLACES, ids=str)
def test_concat(shape: tuple[int, ...], axis: int) -> None:
    build = Builder()
    x, y = sources(build, *shape)
    cat = Concat(axis)
    graph = build.graph(
        build("mixed", cat, x, y, x), build("own", cat, y, y), build("plain", cat, x, x), build("one", cat, y)
    )
    check(graph)


@pytest.mark.parametrize("shape, axis", PLACES, ids=str)
def test_split(shape: tuple[int, ...], axis: int) -> None:
    build = Builder()
    check(build.graph(*split_apart(build, sources(build, *shape), axis)))


SLICES = [
    Slice((1,), (4,), (2,)),
    Slice((0, 1), (2, END), (3, 2)),
    Slice((2,), (END,), (1,)),
    Slice((0,), (END,), (1,), (2,)),
    Slice((-1,), (-END,), (3,), (-1,)),
    Slice((-1, -1), (-END, 0), (1, 2), (-1, -2)),
    Slice((16,), (20,), (1,)),
    Slice((0, 0), (END, END), (0, 1)),
]


@pytest.mark.parametrize("op", SLICES, ids=str)
@pytest.mark.parametrize("shape", [(21, 5, 6), (40, 4, 19)], ids=str)
def test_slice(op: Slice, shape: tuple[int, ...]) -> None:
    build = Builder()
    x, y = sources(build, *shape)
    parts = [build("a", op, x), build("b", op, y)]
    check(build.graph(*parts, *(build(f"conv{p}", Conv2d(4, 1), p) for p in parts)))


def test_slice_of_other_ranks() -> None:
    build = Builder()
    build.input(5, 4, 3, 7, name="volume")
    build.input(9, 17, name="signal")
    build.input(33, name="row")
    check(
        build.graph(
            build("a", Slice((1, 0, 2), (END, 3, 6), (2, 3, 4)), "volume"),
            build("b", Slice((0, 1), (END, END), (1, 2), (2, 3)), "signal"),
            build("c", Slice((3,), (30,), (1,)), "row"),
            build("d", Slice((32,), (0,), (1,), (-3,)), "row"),
        )
    )


def test_channels_from_a_whole_vector_on_are_read_where_they_lie() -> None:
    build = Builder()
    x = build("first", Conv2d(40, 1), build.input(3, 4, 5))
    part = build("part", Slice((16,), (37,), (1,)), x)
    graph = build.graph(build("last", Conv2d(4, 1), part))
    check(graph)
    assert "split" not in families(compiled(graph, 16))


def test_plain_values_are_joined_in_their_plain_order() -> None:
    build = Builder()
    x = build("rows", Reshape((0, 30, 21)), build.input(630))
    graph = build.graph(build("y", Concat(1), x, x))
    check(graph)
    assert families(compiled(graph, 16)) == ["concat", "concat", "layout"]


def test_axes_of_extent_one_cost_nothing() -> None:
    build = Builder()
    x = build("first", Conv2d(21, (4, 1)), build.input(3, 4, 5))
    y = build("in", Unsqueeze((-1,)), build("out", Squeeze((2,)), x))
    graph = build.graph(build("last", Conv2d(4, 1), build("back", Reshape((0, 21, 1, 5)), y)))
    check(graph)
    assert families(compiled(graph, 16)) == ["layout", "igemm_halo", "igemm", "layout"]
