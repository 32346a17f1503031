"""concat, split, slice along any axis, of values that lie in any order; reshapes that move nothing."""

from __future__ import annotations

import numpy as np
import pytest
from device_graphs import as_pixels, check, compiled, families, refusal, run_record
from single_node import sources, split_apart
from strategies import Builder

from nbcnn.ir import Op
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Kernel
from nbcnn.kernels.cuda.views import Alias, Parts
from nbcnn.kernels.cuda.views import Concat as ConcatRecord
from nbcnn.ops.concat import Concat
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.slice import END, Slice
from nbcnn.ops.split import Split
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze

SHAPES = [(11, 2, 3), (1, 2, 2), (8, 3), (3, 2, 2, 3), (6, 3, 1)]
PLACES = [(shape, axis) for shape in SHAPES for axis in (1, 2, -1) if axis <= len(shape)]


@pytest.mark.parametrize("shape, axis", PLACES, ids=str)
def test_concat(shape: tuple[int, ...], axis: int) -> None:
    build = Builder()
    x, y = sources(build, *shape)
    cat = Concat(axis)
    check(build.graph(build("mixed", cat, x, y, x), build("own", cat, y, y), build("plain", cat, x, x)))


@pytest.mark.parametrize("shape, axis", PLACES, ids=str)
def test_split(shape: tuple[int, ...], axis: int) -> None:
    build = Builder()
    check(build.graph(*split_apart(build, sources(build, *shape), axis)))


@pytest.mark.parametrize(
    "op",
    [
        Slice((1,), (3,), (2,)),
        Slice((0, 1), (2, END), (3, 2)),
        Slice((0,), (END,), (1,), (2,)),
        Slice((-1, -1), (-END, 0), (1, 2), (-1, -2)),
        Slice((8,), (11,), (1,)),
        Slice((0, 0), (END, END), (0, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(11, 3, 2), (16, 2, 3)], ids=str)
def test_slice(op: Slice, shape: tuple[int, ...]) -> None:
    build = Builder()
    x, y = sources(build, *shape)
    parts = [build("a", op, x), build("b", op, y)]
    check(build.graph(*(as_pixels(build, p) for p in parts)))


def test_slice_of_other_ranks() -> None:
    build = Builder()
    build.input(3, 2, 2, 4, name="volume")
    build.input(5, 7, name="signal")
    build.input(9, name="row")
    check(
        build.graph(
            build("a", Slice((1, 0, 1), (END, 2, 3), (2, 3, 4)), "volume"),
            build("b", Slice((0, 1), (END, END), (1, 2), (2, 3)), "signal"),
            build("c", Slice((3,), (8,), (1,)), "row"),
            build("d", Slice((8,), (0,), (1,), (-3,)), "row"),
        )
    )


@pytest.mark.parametrize(
    "start, end, precision, copies",
    [
        (8, 16, "float32", 0),
        (8, 19, "float32", 0),  # to the last channel
        (8, 15, "float32", 1),  # channel 15 would pad it
        (4, 8, "float32", 0),
        (4, 8, "float16", 1),
        (8, 16, "float16", 0),
    ],
)
def test_whole_vectors_of_channels_are_read_where_they_lie(
    start: int, end: int, precision: str, copies: int
) -> None:
    build = Builder()
    part = build("part", Slice((start,), (end,), (1,)), as_pixels(build, build.input(19, 2, 1)))
    graph = build.graph(as_pixels(build, part))
    check(graph, precisions=(precision,))
    assert families(compiled(graph, precision)).count("split") == copies


def test_operands_are_computed_in_their_slots() -> None:
    build = Builder()
    x = build.input(8, 2, 1)
    y, z = as_pixels(build, x), build("z", Reshape((0, 5, 2, 1)), build.input(10, name="w"))
    graph = build.graph(as_pixels(build, build("all", Concat(1), y, as_pixels(build, z))))
    for precision in ("float32", "float16"):
        check(graph, "concat", precisions=(precision,))


def test_plain_values_are_joined_in_their_plain_order() -> None:
    build = Builder()
    x = build("rows", Reshape((0, 3, 7)), build.input(21))
    graph = build.graph(build("y", Concat(1), x, x))
    check(graph)
    assert families(compiled(graph)) == ["concat", "concat", "layout"]


@pytest.mark.parametrize("precision", ("float32", "bfloat16"))
def test_axes_of_extent_one_cost_nothing(precision: str) -> None:
    build = Builder()
    y = build("out", Squeeze((2,)), as_pixels(build, build.input(9, 1, 3)))
    y = build("back", Reshape((0, 9, 1, 3)), build("in", Unsqueeze((-1,)), y))
    graph = build.graph(as_pixels(build, y))
    check(graph, precisions=(precision,))
    assert families(compiled(graph, precision)) == ["layout", "affine", "affine", "layout"]


def test_rows_of_a_plane_are_another_image() -> None:
    build = Builder()
    flat = build("flat", Flatten(), as_pixels(build, build.input(5, 2, 3)))
    check(build.graph(as_pixels(build, flat)))


@pytest.mark.parametrize("kind", ("f32", "f16", "bf16"))
@pytest.mark.parametrize("axis", (1, 2, 3))
def test_zeros_pad_what_was_joined_or_taken(axis: int, kind: str) -> None:
    x = np.arange(1, 37, dtype=np.float32).reshape(2, 3, 2, 3)
    joined = run_record(ConcatRecord(), Concat(axis), kind, [x, -x, x])
    np.testing.assert_array_equal(joined.values()[0], np.concatenate([x, -x, x], axis))
    np.testing.assert_array_equal(joined.pads()[0], 0)
    extent = x.shape[axis]
    taken = run_record(Parts(), Split((1, extent - 1), axis), kind, [x])
    for value, part in zip(taken.values(), np.split(x, [1], axis), strict=True):
        np.testing.assert_array_equal(value, part)
    for pads in taken.pads():
        np.testing.assert_array_equal(pads, 0)


REFUSED: list[tuple[Kernel, Op, tuple[int, ...]]] = [
    (Alias(), Transpose((0, 2, 1)), (2, 3, 4)),
    (ConcatRecord(), Concat(0), (2, 3, 4)),
    (ConcatRecord(), Flatten(), (2, 3, 4)),
    (Parts(), Slice((1,), (2,), (0,)), (2, 3, 4)),
    (Parts(), Split((1, 1), 0), (2, 3, 4)),
    (Parts(), Flatten(), (2, 3, 4)),
]


@pytest.mark.parametrize("kernel, op, shape", REFUSED, ids=str)
def test_refused(kernel: Kernel, op: Op, shape: tuple[int, ...]) -> None:
    assert refusal(kernel, op, TensorType(shape))
