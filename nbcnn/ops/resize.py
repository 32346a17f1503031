"""Resampling to another size (ONNX Resize 19, and Upsample): nearest, linear and cubic along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType, is_float
from nbcnn.ops import check, resample, rounding
from nbcnn.ops.resample import Axis, Coordinates, Mode, Nearest

Taps = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Elements [size, taps], their weights [size, taps], and where the result is ``extrapolation`` [size]."""


@dataclass(frozen=True)
class Resize(Op):
    """``axes`` (the last ones) resized by ``scales`` or to ``sizes``; just one of the two is given.

    ``coordinates`` says where a point of the result lies on the operand (ONNX
    coordinate_transformation_mode), ``rounding`` which element is nearest, ``cubic`` is the parameter of
    the cubic kernel. ``antialias`` and ``inside_only`` (ONNX exclude_outside): see `resample.taps`.
    With ``sizes``, ``aspect`` (ONNX keep_aspect_ratio_policy) may make all axes grow alike.
    tf_crop_and_resize looks at ``region``: the starts, then the ends, in shares of each axis; what lies
    outside the operand is ``extrapolation``.
    """

    name: ClassVar[str] = "resize"
    scales: tuple[float, ...] | None = None
    sizes: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    mode: Mode = "nearest"
    coordinates: Coordinates = "half_pixel"
    rounding: Nearest = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    inside_only: bool = False
    aspect: Literal["stretch", "not_larger", "not_smaller"] = "stretch"
    region: tuple[float, ...] | None = None
    extrapolation: float = 0.0

    def __post_init__(self) -> None:
        if (self.scales is None) == (self.sizes is None):
            raise ShapeError("resize takes either scales or sizes")
        for field, kind in (("scales", float), ("sizes", int), ("axes", int), ("region", float)):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, tuple(kind(v) for v in getattr(self, field)))
        for field in ("cubic", "extrapolation"):
            object.__setattr__(self, field, float(getattr(self, field)))
            if not math.isfinite(getattr(self, field)):
                raise ShapeError(f"{field} must be a finite number")
        count = len(self._targets)
        if self.axes is None:
            object.__setattr__(self, "axes", tuple(range(-count, 0)))
        if not all(0 < v < math.inf for v in self._targets) or len(self.axes or ()) != count:
            raise ShapeError(f"resize takes one positive number an axis, got {list(self._targets)}")
        if self.antialias and self.mode == "nearest":
            raise ShapeError("antialias is for linear and cubic resizing")
        crops = self.coordinates == "tf_crop_and_resize"
        if crops != (self.region is not None) or (crops and len(self.region or ()) != 2 * count):
            raise ShapeError("region goes with tf_crop_and_resize: a start for each axis, then the ends")
        if not all(map(math.isfinite, self.region or ())):
            raise ShapeError(f"region must hold finite numbers, got {list(self.region or ())}")

    @property
    def _targets(self) -> Sequence[float]:
        return self.scales or self.sizes or ()

    def plan(self, x: TensorType) -> dict[int, Axis]:
        """How each axis is resized, by axis counted from the front, without those that stay as they are.

        Raises ShapeError for axes that are not there or have no extent, and for a batch that would change.
        """
        check.axes(self.axes, x, self.name)
        axes = [axis % x.rank for axis in self.axes or ()]
        found = {}
        for place, axis in enumerate(axes):
            if self.scales is not None and self.scales[place] == 1 and self.region is None:
                continue  # the batch may have this one
            found[axis] = place, check.extent(axis, x, self.name)
            if not found[axis][1]:
                raise ShapeError(f"resize of the empty axis {axis} of {x}")
        ratios = [self.sizes[place] / extent for place, extent in found.values()] if self.sizes else []
        if self.aspect != "stretch" and ratios:
            ratios = [min(ratios) if self.aspect == "not_larger" else max(ratios)] * len(ratios)
        plan = {}
        for number, (axis, (place, extent)) in enumerate(found.items()):
            if self.scales is not None:
                scale = self.scales[place]
                size = math.floor(scale * extent)
            else:
                scale = ratios[number]
                size = self.sizes[place] if self.aspect == "stretch" else math.floor(scale * extent + 0.5)  # type: ignore[index]
            region = self.region or (0.0,) * len(axes) + (1.0,) * len(axes)
            plan[axis] = Axis(extent, size, scale, (region[place], region[place + len(axes)]))
        return {axis: resized for axis, resized in plan.items() if not resized.kept}

    def taps(self, axis: Axis) -> Taps:
        """What each point along ``axis`` is the sum of; weights in float64."""
        x = resample.coordinates(axis, self.coordinates)
        outside = None
        if self.coordinates == "tf_crop_and_resize":
            outside = (x < 0) | (x > axis.extent - 1)
        if self.mode == "nearest":
            index = resample.nearest(x, self.rounding).clip(0, axis.extent - 1).astype(np.int64)[:, None]
            return index, np.ones(index.shape), outside
        cubic = self.cubic if self.mode == "cubic" else None
        return (*resample.taps(axis, x, cubic, self.antialias, self.inside_only), outside)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        shape: list[Dim] = list(x.shape)
        for axis, resized in self.plan(x).items():
            shape[axis] = resized.size
        return (TensorType(tuple(shape), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        if is_float(x.dtype) or self.mode == "nearest":
            return (self._apply(x, self.extrapolation, np.asarray),)
        limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
        y = self._apply(x.astype(np.float64), self.extrapolation, np.asarray).round()
        return ((y.clip(limits.min, limits.max) if limits else y).astype(x.dtype),)

    def _apply(self, x: np.ndarray, beyond: float, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """One axis after the other, with the weights that ``change`` makes of the true ones."""
        for axis, resized in self.plan(TensorType(x.shape)).items():
            index, weight, outside = self.taps(resized)
            across = (-1,) + (1,) * (x.ndim - axis - 1)
            y = x.take(index[:, 0], axis)
            if self.mode != "nearest":
                weight = change(weight).astype(x.dtype)
                y = y * weight[:, 0].reshape(across)
                for tap in range(1, index.shape[1]):
                    y += x.take(index[:, tap], axis) * weight[:, tap].reshape(across)
            if outside is not None:
                y = np.where(outside.reshape(across), x.dtype.type(beyond), y)
            x = y
        return x.copy() if x.base is not None else x

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (x,), (e,) = arrays, bounds
        off = self._apply(e, 0.0, abs)
        if self.mode == "nearest":
            return (off,)
        # Weights have both signs: what adds up are their sizes. A place on the axis that is worked out in a
        # few roundings is off by that share of it, and each weight by twice as much: no kernel is steeper.
        plan = self.plan(TensorType(x.shape)).values()
        steps = sum(self.taps(axis)[0].shape[1] + 1 for axis in plan)
        far = 2 * rounding.gamma(rounding.FEW, u) * max((axis.extent for axis in plan), default=0)
        size = abs(x) + e
        most = self._apply(size, 0.0, lambda weight: abs(weight) + far)
        return (off + most - self._apply(size, 0.0, abs) + rounding.gamma(steps, u) * most,)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 2, 5, 6)),)
        yield Sample(cls((2.0, 2.0)), image, note="twice as large, the nearest")
        yield Sample(cls((2.0, 3.0), coordinates="asymmetric", rounding="floor"), image, note="repeated")
        yield Sample(cls((1.0, 1.0, 0.6, 0.5)), image, note="smaller, every axis named")
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            yield Sample(cls((1.7, 2.0), mode="linear", coordinates=coordinates), image, note=coordinates)
        yield Sample(cls((0.7, 0.6), mode="linear", coordinates="half_pixel_symmetric"), image)
        yield Sample(cls(sizes=(1, 1), mode="linear", coordinates="align_corners"), image, note="one point")
        yield Sample(cls(sizes=(9, 4), mode="cubic"), image, note="cubic")
        yield Sample(cls(sizes=(9, 4), mode="cubic", cubic=-0.5, inside_only=True), image, note="Catmull-Rom")
        yield Sample(cls(sizes=(2, 3), mode="linear", antialias=True), image, note="antialias")
        yield Sample(cls(sizes=(2, 3), mode="cubic", antialias=True), image, note="antialias, cubic")
        yield Sample(cls(sizes=(8, 8), axes=(3, 2), aspect="not_larger"), image, note="aspect kept")
        yield Sample(cls(sizes=(8, 8), aspect="not_smaller"), image, note="aspect kept, filled")
        yield Sample(
            cls(
                sizes=(3, 4),
                mode="linear",
                coordinates="tf_crop_and_resize",
                region=(0.3, -0.1, 0.8, 1.2),
                extrapolation=7.5,
            ),
            image,
            note="cropped",
        )
        yield Sample(cls((2.0,), mode="linear"), (TensorType(("N", 3, 7)),), note="one axis")
        yield Sample(cls((2.0, 1.5, 2.0), mode="linear"), (TensorType(("N", 1, 2, 3, 4)),), note="a volume")
        yield Sample(cls((1.5, 2.0)), (TensorType((1, 2, 5, 6), "uint8"),), note="bytes")
        yield Sample(cls((1.0, 1.0)), image, note="identity")
        yield Sample(cls((2.0, 1.0, 2.0, 2.0)), image, error="batch")
        yield Sample(cls((2.0, 2.0), axes=(2, -2)), image, error="twice")
        yield Sample(cls((2.0, 2.0)), (TensorType(("N", 2, "H", 4)),), error="bound")
        yield Sample(cls((2.0, 2.0)), (TensorType(("N", 2, 0, 4)),), error="empty")
