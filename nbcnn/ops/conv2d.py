"""Two-dimensional convolution: `Conv` over the plane of [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv import Conv


@dataclass(frozen=True)
class Conv2d(Conv):
    """Convolution of [N, C, H, W] with ``channels`` filters; weight [channels, C/groups, KH, KW]."""

    name: ClassVar[str] = "conv2d"
    rank: ClassVar[int] = 2
    channels: int
    kernel: window.Pair
    stride: window.Pair = (1, 1)
    padding: window.Padding = (0, 0, 0, 0)
    dilation: window.Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    flip: bool = False

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, h, w)),)

        yield Sample(cls(5, 3), image(3, 7, 6))
        yield Sample(cls(8, 1), image(4, 5, 5), note="pointwise")
        yield Sample(cls(8, 1, stride=2, bias=False), image(4, 5, 5), note="pointwise, strided")
        yield Sample(cls(6, 3, stride=2, padding="same"), image(3, 8, 7))
        yield Sample(cls(6, 3, stride=2, padding="same_lower"), image(3, 8, 7))
        yield Sample(cls(6, (3, 5), stride=(2, 1), padding=(1, 2)), image(3, 8, 9))
        yield Sample(cls(4, 3, padding=(0, 1, 2, 3)), image(2, 5, 5), note="uneven padding")
        yield Sample(cls(4, 3, dilation=2, padding=2), image(2, 7, 7))
        yield Sample(cls(2, 2, stride=3), image(2, 7, 8), note="stride above kernel")
        yield Sample(cls(6, 3, padding=1, groups=3), image(6, 5, 5), note="grouped")
        yield Sample(cls(32, 3, 2, 1, groups=8), image(32, 5, 6), note="groups of 4, several to a vector")
        yield Sample(cls(6, 3, padding=1, groups=6), image(6, 5, 5), note="depthwise")
        yield Sample(cls(12, 3, stride=2, padding=1, groups=6), image(6, 5, 5), note="multiplier 2")
        yield Sample(cls(3, 3, padding=1, flip=True), image(2, 5, 5), note="flipped")
        yield Sample(cls(16, 7, stride=2, padding=3, bias=False), image(3, 17, 17), note="stem")
        yield Sample(cls(40, 3, padding=1), image(24, 9, 9), note="several panels")
        yield Sample(cls(4, 5), image(2, 4, 4), error="larger")
        yield Sample(cls(4, 3, groups=2), image(3, 5, 5), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3)),), error="images")
