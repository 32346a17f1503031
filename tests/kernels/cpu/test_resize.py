"""resize: every mode, up and down, one axis to three."""

from __future__ import annotations

import numpy as np
import pytest
from single_node import as_pixels
from sites import check, compiled, families
from strategies import Builder

from nbcnn.ops.resize import Resize

CASES = {
    "nearest, twice": (Resize((2.0, 2.0)), (21, 5, 7)),
    "nearest, down": (Resize((0.6, 0.4)), (3, 9, 7)),
    "nearest, one axis": (Resize((1.0, 2.5)), (16, 4, 5)),
    "nearest, a signal": (Resize((1.7,)), (5, 9)),
    "nearest, a volume": (Resize((2.0, 1.0, 3.0)), (5, 2, 3, 4)),
    "linear, twice": (Resize((2.0, 2.0), mode="linear"), (37, 6, 5)),
    "linear, align": (Resize(sizes=(9, 13), mode="linear", coordinates="align_corners"), (64, 4, 6)),
    "linear, rows": (Resize((3.0, 1.0), mode="linear"), (5, 4, 6)),
    "linear, columns": (Resize((1.0, 0.5), mode="linear"), (70, 4, 6)),
    "linear, a signal": (Resize((2.0,), mode="linear"), (21, 9)),
    "linear, a volume": (Resize((2.0, 2.0, 2.0), mode="linear"), (5, 2, 3, 4)),
    "linear, antialias": (Resize((0.3, 0.45), mode="linear", antialias=True), (21, 13, 11)),
    "cubic": (Resize((1.5, 2.2), mode="cubic"), (80, 5, 7)),
    "cubic, inside": (Resize((1.5, 2.2), mode="cubic", inside_only=True), (5, 5, 7)),
    "crop": (
        Resize(
            sizes=(6, 7),
            mode="linear",
            coordinates="tf_crop_and_resize",
            region=(0.3, -0.1, 1.3, 0.8),
            extrapolation=0.0,
        ),
        (21, 5, 6),
    ),
    "crop, nearest": (
        Resize(
            sizes=(6, 7), coordinates="tf_crop_and_resize", region=(0.3, -0.1, 1.3, 0.8), extrapolation=-2.5
        ),
        (21, 5, 6),
    ),
    "identity": (Resize((1.0, 1.0)), (5, 4, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_resize(name: str) -> None:
    op, shape = CASES[name]
    build = Builder()
    check(build.graph(build("up", op, as_pixels(build, build.input(*shape)))))


def test_linear_in_the_plane_is_one_step() -> None:
    build = Builder()
    graph = build.graph(build("up", Resize((2.0, 2.0), mode="linear"), build.input(16, 5, 6)))
    assert families(compiled(graph, 16)).count("resize") == 1


def test_channels_are_refused() -> None:
    build = Builder()
    graph = build.graph(build("up", Resize((2.0, 1.0, 1.0)), build.input(4, 5, 6)))
    assert "reference" in families(compiled(graph, 16))


def test_nan_and_infinity_stay_where_they_are() -> None:
    build = Builder()
    graph = build.graph(build("up", Resize((2.0, 2.0)), build.input(3, 2, 2)))
    x = np.array([np.nan, np.inf, -np.inf, -0.0] * 3, np.float32).reshape(1, 3, 2, 2)
    got = compiled(graph, 8)(x)
    np.testing.assert_array_equal(got.view(np.int32), x.repeat(2, 2).repeat(2, 3).view(np.int32))
