"""One-dimensional transposed convolution: `ConvTranspose` along the length of [N, C, L]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True)
class ConvTranspose1d(ConvTranspose):
    """Transposed convolution of [N, C, L]; weight [C, channels/groups, K]."""

    name: ClassVar[str] = "conv_transpose1d"
    rank: ClassVar[int] = 1
    channels: int
    kernel: window.Single
    stride: window.Single = (1,)
    padding: window.Padding1 = (0, 0)
    output_padding: window.Single = (0,)
    dilation: window.Single = (1,)
    groups: int = 1
    bias: bool = True
    output_shape: window.Single | None = None

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def signal(c: int, length: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, length)),)

        yield Sample(cls(5, 3), signal(3, 4))
        yield Sample(cls(4, 2, 2), signal(3, 4), note="doubles")
        yield Sample(cls(4, 16, 8, 4), signal(3, 3), note="vocoder")
        yield Sample(cls(4, 3, 2, "same"), signal(3, 4))
        yield Sample(cls(4, 3, 2, 1, 1, dilation=2, groups=2, bias=False), signal(4, 3))
        yield Sample(cls(4, 3, 3, output_shape=10), signal(2, 3), note="zeros behind")
        yield Sample(cls(4, 2, padding=3), signal(2, 3), error="cuts off")
        yield Sample(cls(4, 3), (TensorType(("N", 3, 4, 4)),), error="signals")
