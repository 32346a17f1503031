"""Two-dimensional convolution (cross-correlation, as ONNX Conv and every framework mean it).

y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] * x[n, g(o)C/G + c, i*s + u*d - p, j*s + v*d - p]

``flip: true`` turns the kernel by 180 degrees first: convolution as signal processing defines it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import rounding, window


@dataclass(frozen=True)
class Conv2d(Op):
    """Convolution of [N, C, H, W] with ``channels`` filters; weight [channels, C/groups, KH, KW]."""

    name: ClassVar[str] = "conv2d"
    channels: int
    kernel: window.Pair
    stride: window.Pair = (1, 1)
    padding: window.Padding = (0, 0, 0, 0)
    dilation: window.Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    flip: bool = False

    def __post_init__(self) -> None:
        for field in ("kernel", "stride", "dilation"):
            object.__setattr__(self, field, window.pair(getattr(self, field)))
            window.positive(field, getattr(self, field))
        object.__setattr__(self, "padding", window.normal_padding(self.padding))
        window.positive("channels", self.channels)
        window.positive("groups", self.groups)

    def pads(self, x: TensorType) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) for input type ``x``."""
        _, _, h, w = window.image(x, self.name)
        return window.pads(self.padding, (h, w), self.kernel, self.stride, self.dilation)

    def params(self, *types: TensorType) -> dict[str, Param]:
        _, c, _, _ = window.image(types[0], self.name)
        weight = TensorType((self.channels, c // self.groups, *self.kernel), types[0].dtype)
        params = {"weight": Param(weight, "he")}
        if self.bias:
            params["bias"] = Param(TensorType((self.channels,), types[0].dtype), "bias")
        return params

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, h, w = window.image(types[0], self.name)
        if c % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"{c} input and {self.channels} output channels do not divide into {self.groups} groups"
            )
        out = window.output_size((h, w), self.pads(types[0]), self.kernel, self.stride, self.dilation)
        return (TensorType((n, self.channels, *out), types[0].dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        # One matrix product a tap, batched over images and groups: needs no copy of the windows.
        x, weight, *bias = arrays
        if self.flip:
            weight = weight[:, :, ::-1, ::-1]
        top, left, bottom, right = self.pads(TensorType(x.shape))
        n, _, oh, ow = self.infer(TensorType(x.shape))[0].extents()
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        size_in, size_out = x.shape[1] // self.groups, self.channels // self.groups
        weight = weight.reshape(self.groups, size_out, size_in, *self.kernel)
        y = np.zeros((n, self.groups, size_out, oh * ow), np.result_type(x, weight))
        for u, v, seen in window.taps(x, self.kernel, self.stride, self.dilation, (oh, ow)):
            seen = seen.reshape(n, self.groups, size_in, oh * ow)
            y += weight[..., u, v] * seen if size_in == 1 == size_out else weight[..., u, v] @ seen
        y = y.reshape(n, self.channels, oh, ow)
        if bias:
            y += bias[0][:, None, None]
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(a.shape) for a in arrays]) + self.bias
        return rounding.multilinear(self, arrays, bounds, terms, u)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return int(inputs[0].shape[1]) // self.groups * self.kernel[0] * self.kernel[1]

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, h, w)),)

        yield Sample(cls(5, 3), image(3, 7, 6))
        yield Sample(cls(8, 1), image(4, 5, 5), note="pointwise")
        yield Sample(cls(8, 1, stride=2, bias=False), image(4, 5, 5), note="pointwise, strided")
        yield Sample(cls(6, 3, stride=2, padding="same"), image(3, 8, 7))
        yield Sample(cls(6, (3, 5), stride=(2, 1), padding=(1, 2)), image(3, 8, 9))
        yield Sample(cls(4, 3, padding=(0, 1, 2, 3)), image(2, 5, 5), note="uneven padding")
        yield Sample(cls(4, 3, dilation=2, padding=2), image(2, 7, 7))
        yield Sample(cls(2, 2, stride=3), image(2, 7, 8), note="stride above kernel")
        yield Sample(cls(6, 3, padding=1, groups=3), image(6, 5, 5), note="grouped")
        yield Sample(cls(6, 3, padding=1, groups=6), image(6, 5, 5), note="depthwise")
        yield Sample(cls(12, 3, stride=2, padding=1, groups=6), image(6, 5, 5), note="multiplier 2")
        yield Sample(cls(3, 3, padding=1, flip=True), image(2, 5, 5), note="flipped")
        yield Sample(cls(16, 7, stride=2, padding=3, bias=False), image(3, 17, 17), note="stem")
        yield Sample(cls(40, 3, padding=1), image(24, 9, 9), note="several panels")
        yield Sample(cls(4, 5), image(2, 4, 4), error="larger")
        yield Sample(cls(4, 3, groups=2), image(3, 5, 5), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3)),), error="images")
