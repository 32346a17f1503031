"""Convolution over one to three axes (cross-correlation, as ONNX Conv and every framework mean it).

y[n, o, i] = b[o] + sum over c, u of w[o, c, u] * x[n, g(o)C/G + c, i*s + u*d - p]

with i, u, the stride s, the dilation d and the padding p a number for each axis. ``flip: true`` turns the
kernel about its centre first: convolution as signal processing defines it. Operators are `Conv` with the
number of axes in their name; this file holds all that they do.
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

CONVS = ("conv1d", "conv2d", "conv3d")
"""The YAML words of the convolutions."""


@dataclass(frozen=True)
class Conv(Op):
    """Base of the convolutions: they have these fields.

    The weight is [channels, C/groups, *kernel].
    """

    rank: ClassVar[int]
    """Axes that the window slides along."""

    channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: window.AnyPadding
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    flip: bool

    def __post_init__(self) -> None:
        for field in ("kernel", "stride", "dilation"):
            object.__setattr__(self, field, window.spread(getattr(self, field), self.rank))
            window.positive(field, getattr(self, field))
        object.__setattr__(self, "padding", window.normal_padding(self.padding, self.rank))
        window.positive("channels", self.channels)
        window.positive("groups", self.groups)

    def pads(self, x: TensorType) -> tuple[int, ...]:
        """The padding before each axis of input type ``x``, then that behind each."""
        _, _, size = self._parts(x)
        return window.pads(self.padding, size, self.kernel, self.stride, self.dilation)

    def _parts(self, x: TensorType) -> tuple[Dim, int, tuple[int, ...]]:
        parts = window.plane(x, self.name, self.rank)
        check.floating(x, self.name)
        return parts

    def params(self, *types: TensorType) -> dict[str, Param]:
        _, c, _ = self._parts(types[0])
        weight = TensorType((self.channels, c // self.groups, *self.kernel), types[0].dtype)
        params = {"weight": Param(weight, "he")}
        if self.bias:
            params["bias"] = Param(TensorType((self.channels,), types[0].dtype), "bias")
        return params

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, size = self._parts(types[0])
        if c % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"{c} input and {self.channels} output channels do not divide into {self.groups} groups"
            )
        out = window.output_size(size, self.pads(types[0]), self.kernel, self.stride, self.dilation)
        return (TensorType((n, self.channels, *out), types[0].dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        # One matrix product a tap, batched over images and groups: needs no copy of the windows.
        x, weight, *bias = arrays
        if self.flip:
            weight = np.flip(weight, tuple(range(2, weight.ndim)))
        n, _, *out = self.infer(TensorType(x.shape))[0].extents()
        x = np.pad(x, window.around(self.pads(TensorType(x.shape))))
        size_in, size_out = x.shape[1] // self.groups, self.channels // self.groups
        weight = weight.reshape(self.groups, size_out, size_in, *self.kernel)
        y = np.zeros((n, self.groups, size_out, math.prod(out)), np.result_type(x, weight))
        for tap, seen in window.taps(x, self.kernel, self.stride, self.dilation, tuple(out)):
            seen = seen.reshape(n, self.groups, size_in, y.shape[-1])
            filters = weight[(..., *tap)]
            y += filters * seen if size_in == 1 == size_out else filters @ seen
        y = y.reshape(n, self.channels, *out)
        if bias:
            y += bias[0].reshape(-1, *(1,) * self.rank)
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(a.shape) for a in arrays]) + self.bias
        return rounding.multilinear(self, arrays, bounds, terms, u)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return int(inputs[0].shape[1]) // self.groups * math.prod(self.kernel)
