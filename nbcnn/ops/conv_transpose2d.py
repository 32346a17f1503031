"""Two-dimensional transposed convolution: `ConvTranspose` over the plane of [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True)
class ConvTranspose2d(ConvTranspose):
    """Transposed convolution of [N, C, H, W]; weight [C, channels/groups, KH, KW]."""

    name: ClassVar[str] = "conv_transpose2d"
    rank: ClassVar[int] = 2
    channels: int
    kernel: window.Pair
    stride: window.Pair = (1, 1)
    padding: window.Padding = (0, 0, 0, 0)
    output_padding: window.Pair = (0, 0)
    dilation: window.Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    output_shape: window.Pair | None = None

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
        yield Sample(cls(4, 3, 2, "same"), image(3, 3, 4))
        yield Sample(cls(4, 4, 1, "same_lower"), image(3, 3, 4))
        yield Sample(cls(4, 4, (3, 2), "same", output_shape=(10, 7)), image(3, 3, 3), note="named shape")
        yield Sample(cls(4, 3, (3, 2), output_shape=(10, 8)), image(2, 3, 3), note="zeros behind")
        yield Sample(cls(40, 3, 2, 1, 1), image(24, 9, 8), note="several panels")
        yield Sample(cls(4, 2, padding=3), image(2, 3, 3), error="cuts off")
        yield Sample(cls(4, 3, groups=2), image(3, 5, 5), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3)),), error="images")
