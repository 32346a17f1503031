"""Sliding windows: the attributes and arithmetic that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check

AS_KERNEL: Any = None
"""A stride that is not given: windows lie side by side."""

# Attributes may be written in several ways, which is what pydantic checks; operators bring them to
# one form when they are made, which is what a type checker sees.
if TYPE_CHECKING:
    Pair = tuple[int, int]
    PoolStride = Pair
    Padding = Literal["same"] | tuple[int, int, int, int]
    Margins = tuple[int, int, int, int]
else:
    Pair = int | tuple[int, int]
    """(height, width); one number stands for both."""

    PoolStride = Pair | None

    Padding = Literal["same", "valid"] | int | tuple[int, int] | tuple[int, int, int, int]
    """``same`` (ONNX SAME_UPPER) or (top, left, bottom, right), or ``valid``, one number, (height, width)."""

    Margins = int | tuple[int, int] | tuple[int, int, int, int]
    """Padding in numbers."""


def pair(value: int | tuple[int, ...]) -> Pair:
    """(height, width) from one number or two; raises ShapeError for anything else."""
    if isinstance(value, int):
        return (value, value)
    if len(value) != 2:
        raise ShapeError(f"expected one number or two (height, width), got {value}")
    return (int(value[0]), int(value[1]))


def positive(name: str, value: tuple[int, ...] | int) -> None:
    """Raise ShapeError unless every number of attribute ``name`` is at least 1."""
    if min(value if isinstance(value, tuple) else (value,)) < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")


def normal_padding(padding: str | int | tuple[int, ...]) -> Padding:
    """A word as it is, numbers as (top, left, bottom, right); raises ShapeError for negative ones."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ShapeError(f"padding must be 'same', 'valid' or numbers, got '{padding}'")
        return "same" if padding == "same" else (0, 0, 0, 0)
    numbers = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    if len(numbers) == 2:
        numbers = numbers * 2
    if len(numbers) != 4 or min(numbers) < 0:
        raise ShapeError(f"padding must be 1, 2 or 4 numbers that are not negative, got {padding}")
    top, left, bottom, right = numbers
    return (top, left, bottom, right)


def margins(padding: int | tuple[int, ...]) -> Margins:
    """(top, left, bottom, right) from 1, 2 or 4 numbers; raises ShapeError for anything else."""
    if isinstance(padding, str):
        raise ShapeError(f"padding must be numbers here, got '{padding}'")
    numbers = normal_padding(padding)
    assert not isinstance(numbers, str)
    return numbers


def pads(
    padding: Padding,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) for a plane of ``size`` (height, width).

    ``same``: the output has ceil(size / stride) points and an odd rest of padding goes to the
    bottom and the right (ONNX auto_pad SAME_UPPER).
    """
    if padding != "same":
        return padding
    before, after = [], []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return (before[0], before[1], after[0], after[1])


def image(type_: TensorType, op: str) -> tuple[Dim, int, int, int]:
    """(batch, channels, height, width) of an image type; raises ShapeError for anything else."""
    if type_.rank != 4:
        raise ShapeError(f"{op} takes images [N, C, H, W], got {type_}")
    check.floating(type_, op)
    n, c, h, w = type_.shape
    return n, check.number(c, type_), check.number(h, type_), check.number(w, type_)


def output_size(
    size: tuple[int, int],
    pads: tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    ceil: bool = False,
) -> tuple[int, int]:
    """(rows, columns) of windows over a plane of ``size``; raises ShapeError when none fits.

    ``ceil`` also counts a last window that hangs over the end, if it starts inside the plane or the
    padding before it (ONNX and PyTorch ceil_mode).
    """
    counts = []
    for i in (0, 1):
        rest = size[i] + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1
        if rest < 0:
            axis = ("height", "width")[i]
            raise ShapeError(
                f"kernel {kernel[i]} (dilation {dilation[i]}) is larger than the padded {axis} "
                f"{size[i] + pads[i] + pads[i + 2]}"
            )
        count = rest // stride[i] + 1
        if ceil and rest % stride[i] and count * stride[i] < size[i] + pads[i]:
            count += 1
        counts.append(count)
    return (counts[0], counts[1])


def taps(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    out: tuple[int, int],
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(u, v, view [N, C, OH, OW]) for each tap of the kernel over padded images ``x`` [N, C, H, W]:
    the elements that tap (u, v) of the ``out`` windows sees."""
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            top, left = u * dilation[0], v * dilation[1]
            rows = slice(top, top + (out[0] - 1) * stride[0] + 1, stride[0])
            yield u, v, x[:, :, rows, left : left + (out[1] - 1) * stride[1] + 1 : stride[1]]
