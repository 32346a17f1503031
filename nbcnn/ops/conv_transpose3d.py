"""Three-dimensional transposed convolution: `ConvTranspose` over the volume of [N, C, D, H, W]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True)
class ConvTranspose3d(ConvTranspose):
    """Transposed convolution of [N, C, D, H, W]; weight [C, channels/groups, KD, KH, KW]."""

    name: ClassVar[str] = "conv_transpose3d"
    rank: ClassVar[int] = 3
    channels: int
    kernel: window.Triple
    stride: window.Triple = (1, 1, 1)
    padding: window.Padding3 = (0, 0, 0, 0, 0, 0)
    output_padding: window.Triple = (0, 0, 0)
    dilation: window.Triple = (1, 1, 1)
    groups: int = 1
    bias: bool = True
    output_shape: window.Triple | None = None

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def volume(c: int, d: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, d, h, w)),)

        yield Sample(cls(3, 3), volume(2, 2, 3, 4))
        yield Sample(cls(4, 2, 2), volume(3, 2, 3, 2), note="U-Net")
        yield Sample(cls(2, (1, 3, 2), (1, 2, 3), (0, 1, 0, 0, 0, 1)), volume(2, 2, 3, 3), note="uneven")
        yield Sample(cls(4, 3, 2, "same", groups=2), volume(2, 2, 2, 3))
        yield Sample(cls(4, 2, padding=3), volume(2, 3, 3, 3), error="cuts off")
        yield Sample(cls(4, 3), (TensorType(("N", 3, 4, 4)),), error="volumes")
