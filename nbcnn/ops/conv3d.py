"""Three-dimensional convolution: `Conv` over the volume of [N, C, D, H, W]; for video, D is time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv import Conv


@dataclass(frozen=True)
class Conv3d(Conv):
    """Convolution of [N, C, D, H, W] with ``channels`` filters; weight [channels, C/groups, KD, KH, KW]."""

    name: ClassVar[str] = "conv3d"
    rank: ClassVar[int] = 3
    channels: int
    kernel: window.Triple
    stride: window.Triple = (1, 1, 1)
    padding: window.Padding3 = (0, 0, 0, 0, 0, 0)
    dilation: window.Triple = (1, 1, 1)
    groups: int = 1
    bias: bool = True
    flip: bool = False

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def volume(c: int, d: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, d, h, w)),)

        yield Sample(cls(5, 3), volume(3, 4, 5, 6))
        yield Sample(cls(8, 1), volume(4, 2, 3, 3), note="pointwise")
        yield Sample(cls(6, (1, 3, 3), padding=(0, 1, 1)), volume(5, 3, 4, 5), note="each image")
        yield Sample(cls(6, (3, 1, 1), padding=(1, 0, 0)), volume(5, 4, 3, 2), note="along time")
        yield Sample(cls(4, 3, stride=2, padding="same"), volume(2, 4, 5, 3))
        yield Sample(cls(4, (2, 3, 2), (1, 2, 3), (0, 1, 2, 1, 0, 3)), volume(2, 3, 4, 5), note="uneven")
        yield Sample(cls(2, 2, dilation=2, padding=1), volume(2, 3, 3, 3), note="dilated")
        yield Sample(cls(4, 3, padding=1, groups=2), volume(4, 3, 3, 3), note="grouped")
        yield Sample(cls(4, 3, padding=1, groups=4), volume(4, 3, 3, 3), note="depthwise")
        yield Sample(cls(8, 3, 1, 1, bias=False), volume(3, 4, 8, 8), note="stem")
        yield Sample(cls(2, 2, flip=True), volume(2, 3, 3, 3), note="flipped")
        yield Sample(cls(4, 5), volume(2, 6, 6, 4), error="larger")
        yield Sample(cls(4, 3, groups=2), volume(3, 3, 3, 3), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3, 5, 5)),), error="volumes")
