"""Transposed convolution over one to three axes (ONNX ConvTranspose): the adjoint of `Conv`.

y[n, o, i*s + u*d - p] += w[c, o, u] * x[n, c, i], then b[o] everywhere

with i, u, the stride s, the dilation d and the padding p a number for each axis. Each point is spread by the
kernel; padding cuts off what falls outside. ``output_padding`` adds points behind each axis, which a stride
leaves open. ``padding: same`` cuts down to extent * stride, ``output_shape`` to the extents that it names;
half of what is cut lies behind each axis, and an odd rest there too with ``same``, otherwise before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check, rounding, window

TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""The YAML words of the transposed convolutions."""


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Base of the transposed convolutions: they have these fields.

    The weight is [C, channels/groups, *kernel].
    """

    rank: ClassVar[int]
    """Axes that the kernel spreads along."""

    channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: window.AnyPadding
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    output_shape: tuple[int, ...] | None

    def __post_init__(self) -> None:
        for field in ("kernel", "stride", "dilation", "output_padding"):
            object.__setattr__(self, field, window.spread(getattr(self, field), self.rank))
        for field in ("kernel", "stride", "dilation", "channels", "groups"):
            window.positive(field, getattr(self, field))
        object.__setattr__(self, "padding", window.normal_padding(self.padding, self.rank))
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if not 0 <= extra < max(s, d):
                raise ShapeError(
                    f"output_padding must be at least 0 and less than the stride or dilation, got {extra}"
                )
        if self.output_shape is not None:
            object.__setattr__(self, "output_shape", window.spread(self.output_shape, self.rank))
            window.positive("output_shape", self.output_shape)
            if not isinstance(self.padding, str) and any(self.padding):
                raise ShapeError("output_shape says what is cut off: padding in numbers cannot too")

    def _parts(self, x: TensorType) -> tuple[Dim, int, tuple[int, ...]]:
        parts = window.plane(x, self.name, self.rank)
        check.floating(x, self.name)
        return parts

    def params(self, *types: TensorType) -> dict[str, Param]:
        _, c, _ = self._parts(types[0])
        weight = TensorType((c, self.channels // self.groups, *self.kernel), types[0].dtype)
        params = {"weight": Param(weight, "he")}
        if self.bias:
            params["bias"] = Param(TensorType((self.channels,), types[0].dtype), "bias")
        return params

    def _whole(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Extents of the result before padding cuts them."""
        windows = zip(size, self.stride, self.dilation, self.kernel, self.output_padding, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 + extra for n, s, d, k, extra in windows)

    def pads(self, x: TensorType) -> tuple[int, ...]:
        """What is cut off before each axis for input type ``x``, then behind each; below 0: zeros added."""
        _, _, size = self._parts(x)
        if not isinstance(self.padding, str) and self.output_shape is None:
            return self.padding
        wanted = self.output_shape or tuple(n * s for n, s in zip(size, self.stride, strict=True))
        before, after = [], []
        for whole, n in zip(self._whole(size), wanted, strict=True):
            total = max(whole - n, 0)
            before.append(total // 2 if self.padding == "same" else total - total // 2)
            after.append(whole - n - before[-1])
        return (*before, *after)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, size = self._parts(types[0])
        if c % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"{c} input and {self.channels} output channels do not divide into {self.groups} groups"
            )
        whole, pads = self._whole(size), self.pads(types[0])
        cut = zip(whole, pads[: self.rank], pads[self.rank :], strict=True)
        out = tuple(points - before - after for points, before, after in cut)
        if min(out) < 1:
            points = " x ".join(map(str, whole))
            raise ShapeError(f"padding {self.padding} cuts off all of {points} points")
        return (TensorType((n, self.channels, *out), types[0].dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, *bias = arrays
        n, c, *size = x.shape
        _, _, *out = self.infer(TensorType(x.shape))[0].extents()
        before = self.pads(TensorType(x.shape))[: self.rank]
        room = [max(w, b + o) for w, b, o in zip(self._whole(tuple(size)), before, out, strict=True)]
        size_in, size_out = c // self.groups, self.channels // self.groups
        x = x.reshape(n, self.groups, size_in, math.prod(size))
        weight = weight.reshape(self.groups, size_in, size_out, *self.kernel).swapaxes(1, 2)
        whole = np.zeros((n, self.channels, *room), np.result_type(x, weight))
        for tap, seen in window.taps(whole, self.kernel, self.stride, self.dilation, tuple(size)):
            seen += (weight[(..., *tap)] @ x).reshape(seen.shape)
        y = whole[(..., *(slice(b, b + o) for b, o in zip(before, out, strict=True)))].copy()
        if bias:
            y += bias[0].reshape(-1, *(1,) * self.rank)
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(a.shape) for a in arrays]) + self.bias
        return rounding.multilinear(self, arrays, bounds, terms, u)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return inputs[0].elements() * (self.channels // self.groups) * math.prod(self.kernel)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        # Taps u that meet in one row: those whose u*d agree modulo the stride.
        windows = zip(self.kernel, self.stride, self.dilation, strict=True)
        met = math.prod(-(-k * math.gcd(s, d) // s) for k, s, d in windows)
        return int(inputs[0].shape[1]) // self.groups * met
