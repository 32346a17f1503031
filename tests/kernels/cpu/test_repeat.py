"""expand and tile."""

from __future__ import annotations

import pytest
from single_node import as_pixels
from sites import check
from strategies import Builder

from nbcnn.ops.repeat import Expand, Tile

CASES = [
    (Expand((1, 21, 5, 6)), (21, 1, 1)),
    (Expand((1, 21, 5, 6)), (1, 5, 6)),
    (Expand((1, 1, 7, 1)), (16, 1, 9)),
    (Expand((1, 40, 3, 9)), (1, 1, 1)),
    (Expand((1, 9)), (1,)),
    (Expand((1, 5, 18)), (5, 1)),
    (Expand((1, 3, 1, 20, 1)), (1, 4, 1, 6)),
    (Tile((1, 2, 1, 1)), (5, 3, 4)),
    (Tile((1, 1, 3, 2)), (21, 3, 4)),
    (Tile((1, 3, 2)), (5, 17)),
    (Tile((1, 4)), (9,)),
    (Tile((1, 1, 1, 1)), (3, 4, 5)),
]


@pytest.mark.parametrize("op, shape", CASES, ids=str)
def test_repeated(op, shape) -> None:
    build = Builder()
    x = build.input(*shape)
    y = as_pixels(build, x)
    check(build.graph(build("a", op, x), build("b", op, y)))
