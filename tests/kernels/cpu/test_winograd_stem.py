"""F(4, 4) along the rows of first layers: every geometry, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from conformance import excesses, inputs_of
from strategies import Builder

import nbcnn
from nbcnn.lower.model import Model
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.conv2d import Conv2d


def compiled(channels: int, height: int, width: int, conv: Conv2d, act=None, **options) -> Model:
    build = Builder()
    y = build("conv", conv, build.input(channels, height, width))
    return nbcnn.compile(build.graph(build("act", act or Relu(), y)), keep_values=True, **options)


@pytest.mark.parametrize(
    "channels, height, width, conv",
    [
        (3, 224, 224, Conv2d(64, 7, 2, 3)),
        (1, 20, 23, Conv2d(8, 7, 2, 3)),
        (4, 19, 30, Conv2d(40, (3, 8), (1, 2), (0, 2, 1, 5))),
        (3, 40, 38, Conv2d(17, 7, 2, 0, bias=False)),
        (3, 33, 8, Conv2d(16, (5, 7), (3, 2), (2, 3, 2, 3), flip=True)),
        (2, 9, 7, Conv2d(5, 7, 2, (1, 0, 0, 0))),
    ],
)
def test_geometries(channels: int, height: int, width: int, conv: Conv2d) -> None:
    """Widths that 4 does not divide, odd paddings and channels; two threads give bitwise the same."""
    one, two = (compiled(channels, height, width, conv, threads=t) for t in (1, 2))
    assert [c.kernel.name for c in one.choices] == ["winograd_stem"]
    inputs = inputs_of(one.graph, 3)
    worst = excesses(one, inputs)
    assert max(worst.values()) <= 1, worst
    np.testing.assert_array_equal(one(**inputs), two(**inputs))


def test_range() -> None:
    """Inputs over six orders of magnitude, through an activation that is not a clamp."""
    model = compiled(3, 64, 64, Conv2d(24, 7, 2, 3), Silu())
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 3, 64, 64)) * 10 ** rng.uniform(-3, 3, (2, 3, 64, 64))
    assert max(excesses(model, {"x": x.astype(np.float32)}).values()) <= 1


@pytest.mark.parametrize(
    "channels, conv, options, word",
    [
        (3, Conv2d(8, 7, 2, 3), {"winograd": False}, "winograd is off"),
        (3, Conv2d(8, 7, 1, 3), {}, "stride 2"),
        (3, Conv2d(8, 5, 2, 2), {}, "7 or 8 wide"),
        (3, Conv2d(8, 7, 2, 6, dilation=2), {}, "undilated"),
        (3, Conv2d(9, 7, 2, 3, groups=3), {}, "grouped"),
        (5, Conv2d(8, 7, 2, 3), {}, "input channels"),
    ],
)
def test_refuses(channels: int, conv: Conv2d, options: dict, word: str) -> None:
    (choice,) = compiled(channels, 20, 20, conv, **options).choices
    reasons = {c.kernel: c.reason for c in choice.candidates}
    assert word in str(reasons["winograd_stem"])


def test_refuses_a_residual() -> None:
    build = Builder()
    y = build("conv", Conv2d(8, 7, 2, 3), build.input(3, 20, 20))
    y = build("sum", Add(), y, build.input(8, 10, 10, name="z"))
    (choice,) = nbcnn.compile(build.graph(y)).choices
    assert "residual" in str({c.kernel: c.reason for c in choice.candidates}["winograd_stem"])
