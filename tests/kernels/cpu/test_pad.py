"""pad: every mode around pixels, a constant around anything."""

from __future__ import annotations

import numpy as np
import pytest
from single_node import as_pixels
from sites import check, compiled, families
from strategies import Builder

from nbcnn.ops.pad import Pad

CASES = [
    (Pad(1), (21, 4, 5)),
    (Pad((0, 1, 2, 3), -1.5), (16, 3, 3)),
    (Pad((2, 1, 0, 3), mode="edge"), (3, 4, 5)),
    (Pad((2, 1, 3, 3), mode="reflect"), (37, 4, 5)),
    (Pad((5, 1, 0, 3), mode="reflect"), (5, 4, 5)),
    (Pad((2, 1, 0, 3), mode="wrap"), (5, 4, 5)),
    (Pad((-1, 2, 0, -3)), (5, 4, 5)),
    (Pad((-1, 2, 3, -2), mode="reflect"), (5, 5, 5)),
    (Pad((0, -2, 0, -1)), (5, 5, 5)),
    (Pad((1, 2), axes=(-1,)), (21, 7)),
    (Pad((1, 2), -np.inf, axes=(-2,)), (21, 7)),
    (Pad(1, axes=(2, 3, 4)), (5, 2, 3, 2)),
    (Pad((1, 0, 2, 2, 0, 1), mode="edge", axes=(2, 3, 4)), (5, 2, 3, 2)),
    (Pad((0, 3, 0, 2), 2.5, axes=(0, 1)), (5, 3, 3)),
    (Pad((16, 1, 8, 2), axes=(1, 3)), (16, 3, 4)),
    (Pad((1, 3), -1.0, axes=(1,)), (4,)),
    (Pad(0), (5, 3, 3)),
    (Pad(1, axes=(1, 2, 3, 4, 5)), (2, 3, 1, 2, 3)),
]


@pytest.mark.parametrize("op, shape", CASES, ids=str)
def test_padded(op: Pad, shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*shape)
    y = as_pixels(build, x)
    check(build.graph(build("a", op, x), build("b", op, y)))


def test_mirrored_channels_run_through_the_reference() -> None:
    build = Builder()
    graph = build.graph(build("y", Pad(1, mode="reflect", axes=(1,)), build.input(3, 4, 5)))
    assert "reference" in families(compiled(graph, 8))
