"""transpose in every form of the move, and where nothing has to move."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from single_node import as_pixels
from sites import check, compiled, families
from strategies import Builder

from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.transpose import Transpose

CASES = [
    *[((0, *p), (21, 5, 7)) for p in permutations((1, 2, 3))],
    *[((0, *p), (3, 18, 33)) for p in permutations((1, 2, 3))],
    ((0, 2, 1), (40, 19)),
    ((0, 2, 1), (2, 50)),
    ((0, 2, 1), (50, 3)),
    ((0, 2, 1), (5, 37)),
    ((0, 2, 1), (37, 7)),
    ((0, 2, 1), (9000, 2)),
    ((0, 2, 1), (8, 9000)),
    ((0, 1), (12,)),
    ((0, 3, 2, 4, 1), (3, 4, 5, 6)),
    ((0, 1, 3, 4, 2), (3, 85, 4, 5)),
    ((0, 5, 4, 3, 2, 1), (2, 3, 4, 3, 2)),
    ((0, 2, 1, 3), (1, 6, 1)),
]


@pytest.mark.parametrize("perm, shape", CASES, ids=str)
def test_any_order(perm: tuple[int, ...], shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*shape)
    y = build("y", Transpose(perm), x)
    outputs = [y]
    if len(shape) == 3:  # from an image that a kernel wrote, for a kernel that reads one
        z = build("turned", Transpose(perm), as_pixels(build, x))
        outputs += [z, build("conv", Conv2d(5, 1), z)]
    check(build.graph(*outputs))


@pytest.mark.parametrize("groups", (2, 3, 4, 5, 6, 7, 8, 9, 29))
@pytest.mark.parametrize("form", ("5-D", "4-D"))
def test_channel_shuffle_is_one_step(groups: int, form: str) -> None:
    build = Builder()
    channels = 29 * groups
    x = build("first", Conv2d(channels, 1), build.input(4, 3, 5))
    inner = (groups, 29, 3, 5) if form == "5-D" else (groups, 29, 15)
    y = build("apart", Reshape((0, *inner)), x)
    y = build("turn", Transpose((0, 2, 1, *range(3, len(inner) + 1))), y)
    y = build("back", Reshape((0, channels, 3, 5)), y)
    graph = build.graph(build("last", Conv2d(4, 1), y))
    check(graph)
    model = compiled(graph, 16)
    assert families(model).count("layout") == families(compiled(_without(groups), 16)).count("layout")
    assert families(model).count("transpose") == 1


def _without(groups: int):
    build = Builder()
    x = build("first", Conv2d(29 * groups, 1), build.input(4, 3, 5))
    return build.graph(build("last", Conv2d(4, 1), x))


@pytest.mark.parametrize("channels, moves", [(32, 0), (21, 2)])
def test_channels_last_and_back_is_free_in_whole_vectors(channels: int, moves: int) -> None:
    build = Builder()
    x = build("first", Conv2d(channels, 1), build.input(4, 3, 5))
    y = build("there", Transpose((0, 2, 3, 1)), x)
    y = build("back", Transpose((0, 3, 1, 2)), build("rows", Reshape((0, 3, 5, channels)), y))
    graph = build.graph(build("last", Conv2d(4, 1), y))
    check(graph)
    model = compiled(graph, 16)
    assert families(model).count("transpose") == moves


def test_the_callers_array_is_never_read_as_an_image() -> None:
    build = Builder()
    y = build("turn", Transpose((0, 3, 1, 2)), build.input(3, 5, 16))
    graph = build.graph(build("conv", Conv2d(5, 1), y), "turn")
    check(graph)
    assert families(compiled(graph, 16)).count("transpose") == 1


def test_nan_and_infinities_pass_through() -> None:
    build = Builder()
    graph = build.graph(build("y", Transpose((0, 2, 1)), build.input(5, 37)))
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32).repeat(37).reshape(1, 5, 37)
    got = compiled(graph, 16)(x)
    np.testing.assert_array_equal(got.view(np.int32), x.transpose(0, 2, 1).copy().view(np.int32))
