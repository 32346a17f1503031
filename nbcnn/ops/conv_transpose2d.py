"""Transposed convolution (ONNX ConvTranspose, PyTorch ConvTranspose2d): the adjoint of `Conv2d`.

y[n, o, i*s + u*d - p, j*s + v*d - p] += w[c, o, u, v] * x[n, c, i, j], then b[o] everywhere

Each point of the image is spread by the kernel; padding cuts off what falls outside.
``output_padding`` adds rows at the bottom and columns at the right, which a stride leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import rounding, window


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """Transposed convolution of [N, C, H, W]; weight [C, channels/groups, KH, KW]."""

    name: ClassVar[str] = "conv_transpose2d"
    channels: int
    kernel: window.Pair
    stride: window.Pair = (1, 1)
    padding: window.Margins = (0, 0, 0, 0)
    output_padding: window.Pair = (0, 0)
    dilation: window.Pair = (1, 1)
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        for field in ("kernel", "stride", "dilation", "output_padding"):
            object.__setattr__(self, field, window.pair(getattr(self, field)))
        for field in ("kernel", "stride", "dilation", "channels", "groups"):
            window.positive(field, getattr(self, field))
        object.__setattr__(self, "padding", window.margins(self.padding))
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if not 0 <= extra < max(s, d):
                raise ShapeError(
                    f"output_padding must be at least 0 and less than the stride or dilation, got {extra}"
                )

    def params(self, *types: TensorType) -> dict[str, Param]:
        _, c, _, _ = window.image(types[0], self.name)
        weight = TensorType((c, self.channels // self.groups, *self.kernel), types[0].dtype)
        params = {"weight": Param(weight, "he")}
        if self.bias:
            params["bias"] = Param(TensorType((self.channels,), types[0].dtype), "bias")
        return params

    def _whole(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the result before padding cuts them."""
        rows, columns = (
            (n - 1) * s + d * (k - 1) + 1 + extra
            for n, s, d, k, extra in zip(
                size, self.stride, self.dilation, self.kernel, self.output_padding, strict=True
            )
        )
        return rows, columns

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, h, w = window.image(types[0], self.name)
        if c % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"{c} input and {self.channels} output channels do not divide into {self.groups} groups"
            )
        rows, columns = self._whole((h, w))
        top, left, bottom, right = self.padding
        out = (rows - top - bottom, columns - left - right)
        if min(out) < 1:
            raise ShapeError(f"padding {self.padding} cuts off all of {rows} x {columns} points")
        return (TensorType((n, self.channels, *out), types[0].dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, *bias = arrays
        n, c, h, w = x.shape
        _, _, oh, ow = self.infer(TensorType(x.shape))[0].extents()
        size_in, size_out = c // self.groups, self.channels // self.groups
        x = x.reshape(n, self.groups, size_in, h * w)
        weight = weight.reshape(self.groups, size_in, size_out, *self.kernel).swapaxes(1, 2)
        whole = np.zeros((n, self.channels, *self._whole((h, w))), np.result_type(x, weight))
        for u, v, seen in window.taps(whole, self.kernel, self.stride, self.dilation, (h, w)):
            seen += (weight[..., u, v] @ x).reshape(seen.shape)
        top, left, _, _ = self.padding
        y = whole[:, :, top : top + oh, left : left + ow].copy()
        if bias:
            y += bias[0][:, None, None]
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(a.shape) for a in arrays]) + self.bias
        return rounding.multilinear(self, arrays, bounds, terms, u)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return inputs[0].elements() * (self.channels // self.groups) * self.kernel[0] * self.kernel[1]

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        # Taps u that meet in one row: those whose u*d agree modulo the stride.
        met = [
            -(-k * math.gcd(s, d) // s)
            for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True)
        ]
        return int(inputs[0].shape[1]) // self.groups * met[0] * met[1]

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, h, w)),)

        yield Sample(cls(5, 3), image(3, 4, 5))
        yield Sample(cls(4, 2, 2), image(3, 4, 3), note="U-Net")
        yield Sample(cls(4, 4, 2, 1, bias=False), image(3, 3, 4), note="DCGAN")
        yield Sample(cls(4, 3, 2, 1, 1), image(3, 3, 4), note="output padding")
        yield Sample(cls(2, (2, 3), (3, 1), (0, 1, 2, 0)), image(2, 3, 4), note="uneven")
        yield Sample(cls(2, 3, dilation=2, padding=1), image(2, 3, 3), note="dilated")
        yield Sample(cls(2, 3, 2, 1, 1, dilation=2), image(2, 3, 3), note="dilated and strided")
        yield Sample(cls(6, 3, 2, groups=2), image(4, 3, 3), note="grouped")
        yield Sample(cls(4, 3, 2, 1, groups=4), image(4, 3, 3), note="depthwise")
        yield Sample(cls(4, 2, padding=3), image(2, 3, 3), error="cuts off")
        yield Sample(cls(4, 3, groups=2), image(3, 5, 5), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3)),), error="images")
