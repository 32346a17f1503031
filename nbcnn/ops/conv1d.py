"""One-dimensional convolution: `Conv` along the length of [N, C, L]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from nbcnn.ir.op import Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window
from nbcnn.ops.conv import Conv


@dataclass(frozen=True)
class Conv1d(Conv):
    """Convolution of [N, C, L] with ``channels`` filters; weight [channels, C/groups, K]."""

    name: ClassVar[str] = "conv1d"
    rank: ClassVar[int] = 1
    channels: int
    kernel: window.Single
    stride: window.Single = (1,)
    padding: window.Padding1 = (0, 0)
    dilation: window.Single = (1,)
    groups: int = 1
    bias: bool = True
    flip: bool = False

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def signal(c: int, length: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, length)),)

        yield Sample(cls(5, 3), signal(3, 9))
        yield Sample(cls(8, 1), signal(6, 5), note="pointwise")
        yield Sample(cls(6, 4, stride=2, padding="same"), signal(3, 9))
        yield Sample(cls(6, 4, stride=2, padding="same_lower"), signal(3, 9))
        yield Sample(cls(4, 3, padding=(4, 0), dilation=2), signal(5, 8), note="causal")
        yield Sample(cls(6, 5, padding=2, groups=3), signal(6, 7), note="grouped")
        yield Sample(cls(6, 5, padding=2, groups=6), signal(6, 7), note="depthwise")
        yield Sample(cls(16, 9, stride=4, padding=4, bias=False), signal(1, 40), note="stem")
        yield Sample(cls(40, 3, padding=1), signal(24, 20), note="several panels")
        yield Sample(cls(3, 3, padding=1, flip=True), signal(2, 5), note="flipped")
        yield Sample(cls(4, 7), signal(2, 4), error="larger")
        yield Sample(cls(4, 3, groups=2), signal(3, 5), error="groups")
        yield Sample(cls(4, 3), (TensorType(("N", 3, 5, 5)),), error="signals")
        yield Sample(cls(4, 3), (TensorType(("N", 3, "L")),), error="bound")
