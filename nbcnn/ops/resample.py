"""Where the points of a resized axis lie on the axis they are made from, and what each is the sum of.

A point i of the result lies at x(i) on the operand's axis; its value is the sum of ``weight[i, t]`` times
the element ``index[i, t]``. Formulas: ONNX Resize, version 19. The cubic kernel is Keys' (1981), with the
free parameter a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Mode = Literal["nearest", "linear", "cubic"]
Coordinates = Literal[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]
Nearest = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@dataclass(frozen=True)
class Axis:
    """One axis: ``extent`` elements become ``size``, ``scale`` times as many but for rounding.

    ``region`` is the part that is seen, its ends in shares of the axis (tf_crop_and_resize alone).
    """

    extent: int
    size: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)

    @property
    def kept(self) -> bool:
        """Whether every element stays where it is."""
        return self.size == self.extent and math.isclose(self.scale, 1) and self.region == (0, 1)


def coordinates(axis: Axis, mode: Coordinates) -> np.ndarray:
    """x(i) for each i of the result, in float64 [size]; it may lie outside the operand."""
    i = np.arange(axis.size, dtype=np.float64)
    last, wide = axis.extent - 1, axis.scale * axis.extent  # the result's extent before it was rounded
    if mode == "asymmetric":
        return i / axis.scale
    if mode == "align_corners":
        return i * 0 if wide == 1 else i * last / (wide - 1)
    if mode == "tf_crop_and_resize":
        start, end = axis.region
        inner = i * 0 + (end - start) * last / 2 if wide == 1 else i * (end - start) * last / (wide - 1)
        return inner + start * last
    x = (i + 0.5) / axis.scale - 0.5
    if mode == "pytorch_half_pixel" and wide == 1:
        return x * 0 - 0.5
    if mode == "half_pixel_symmetric":
        return x + axis.extent / 2 * (1 - axis.size / wide)
    return x


def nearest(x: np.ndarray, mode: Nearest) -> np.ndarray:
    """The element next to each of ``x``; ``mode`` decides halves, or all."""
    if mode == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    return np.floor(x) if mode == "floor" else np.ceil(x)


def tent(d: np.ndarray) -> np.ndarray:
    """The weight of an element at distance ``d`` in linear interpolation."""
    return np.maximum(1 - abs(d), 0)


def keys(d: np.ndarray, a: float) -> np.ndarray:
    """The weight of an element at distance ``d`` in cubic interpolation."""
    d = abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def taps(
    axis: Axis, x: np.ndarray, cubic: float | None, antialias: bool, inside_only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(index, weight), each [size, taps]: linear interpolation at ``x``, or cubic with a = ``cubic``.

    With ``antialias`` the kernel of a smaller result is stretched until it reaches every element.
    ``inside_only`` gives elements beyond the ends no weight; otherwise the last one stands for them.
    """
    reach = 1 if cubic is None else 2
    # A result of one point or more has a scale above 0.5 / extent; without any, nothing may grow.
    stretch = max(min(axis.scale, 1.0), 0.25 / axis.extent) if antialias else 1.0
    first = math.floor(-reach / stretch) + 1
    steps = np.arange(first, 2 - first)
    floor = np.floor(x)[:, None]
    distance = (floor + steps - x[:, None]) * stretch
    weight = tent(distance) if cubic is None else keys(distance, cubic)
    index = (floor + steps).astype(np.int64)
    if inside_only:
        weight = np.where((index >= 0) & (index < axis.extent), weight, 0.0)
    if inside_only or antialias:
        total = weight.sum(axis=1, keepdims=True)
        weight = weight / np.where(total == 0, 1.0, total)
    return index.clip(0, axis.extent - 1), weight
