"""Sliding windows over one to three axes: the attributes and arithmetic that convolution and pooling share.

The axes of a window are those behind batch and channels: (length,), (height, width) or (depth, height,
width). Padding is written as in ONNX: what lies before each axis, then what lies behind each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
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
    Single = tuple[int]
    Pair = tuple[int, int]
    Triple = tuple[int, int, int]
    Numbers = tuple[int, ...]
    PoolStride = tuple[int, ...]
    Margins = tuple[int, int, int, int]
    Word = Literal["same", "same_lower"]
    Padding1 = Word | tuple[int, int]
    Padding = Word | Margins
    Padding3 = Word | tuple[int, int, int, int, int, int]
    AnyPadding = Word | tuple[int, ...]
else:
    Single = int | tuple[int]
    Pair = int | tuple[int, int]
    """(height, width); one number stands for both."""

    Triple = int | tuple[int, int, int]
    Numbers = int | tuple[int, ...]
    PoolStride = Numbers | None
    Margins = int | tuple[int, int] | tuple[int, int, int, int]
    """Padding in numbers."""

    Word = Literal["same", "same_lower", "valid"]
    """ONNX SAME_UPPER and SAME_LOWER: as many windows as strides; no padding."""

    Padding1 = Word | int | tuple[int] | tuple[int, int]
    Padding = Word | int | tuple[int, int] | tuple[int, int, int, int]
    """A word, or (top, left, bottom, right), one number, (height, width)."""

    Padding3 = Word | int | tuple[int, int, int] | tuple[int, int, int, int, int, int]
    AnyPadding = Word | int | tuple[int, ...]

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
"""Names of the axes that a window has, by their number."""

FORMS = {1: "signals [N, C, L]", 2: "images [N, C, H, W]", 3: "volumes [N, C, D, H, W]"}
"""The types that windows slide over, by the number of axes of the window."""

_COUNTS = {1: "one number", 2: "one number or two", 3: "one number or three"}


@dataclass(frozen=True)
class Geometry:
    """A window with a number for each axis; ``pads`` holds those before, then those behind each axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def before(self) -> tuple[int, ...]:
        """The padding before each axis."""
        return self.pads[: len(self.kernel)]


def spread(value: int | tuple[int, ...], rank: int = 2) -> tuple[int, ...]:
    """A number for each of ``rank`` axes, from one for all; raises ShapeError for another count."""
    numbers = (value,) * rank if isinstance(value, int) else tuple(int(v) for v in value)
    if len(numbers) != rank:
        raise ShapeError(f"expected {_COUNTS[rank]} ({', '.join(AXES[rank])}), got {value}")
    return numbers


def positive(name: str, value: tuple[int, ...] | int) -> None:
    """Raise ShapeError unless every number of attribute ``name`` is at least 1."""
    if min(value if isinstance(value, tuple) else (value,)) < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")


def normal_padding(padding: str | int | tuple[int, ...], rank: int = 2) -> Any:
    """``same`` and ``same_lower`` as they are, anything else as 2 * ``rank`` numbers.

    Raises ShapeError for another word, another count and negative numbers.
    """
    if isinstance(padding, str):
        if padding not in ("same", "same_lower", "valid"):
            raise ShapeError(f"padding must be 'same', 'same_lower', 'valid' or numbers, got '{padding}'")
        return (0,) * 2 * rank if padding == "valid" else padding
    numbers = (padding,) * rank if isinstance(padding, int) else tuple(int(p) for p in padding)
    if len(numbers) == rank:
        numbers = numbers * 2
    if len(numbers) != 2 * rank or min(numbers) < 0:
        counts = f"1, {rank} or {2 * rank}" if rank > 1 else "1 or 2"
        raise ShapeError(f"padding must be {counts} numbers that are not negative, got {padding}")
    return numbers


def margins(padding: int | tuple[int, ...], rank: int = 2) -> Any:
    """Padding in 2 * ``rank`` numbers from 1, ``rank`` or all; raises ShapeError for anything else."""
    if isinstance(padding, str):
        raise ShapeError(f"padding must be numbers here, got '{padding}'")
    return normal_padding(padding, rank)


def pads(
    padding: str | tuple[int, ...],
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] | None = None,
) -> Any:
    """The padding before each axis of a plane of ``size``, then that behind each.

    ``same``: there are ceil(size / stride) windows, and an odd rest of padding goes behind (ONNX auto_pad
    SAME_UPPER); ``same_lower``: before.
    """
    if not isinstance(padding, str):
        return padding
    less, more = [], []
    for n, k, s, d in zip(size, kernel, stride, dilation or (1,) * len(size), strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        less.append(total // 2)
        more.append(total - total // 2)
    return (*less, *more) if padding == "same" else (*more, *less)


def plane(type_: TensorType, op: str, rank: int | None = None) -> tuple[Dim, int, tuple[int, ...]]:
    """(batch, channels, extents of the other axes) of a type with ``rank`` axes behind the channels.

    Raises ShapeError for anything else; None allows one to three axes.
    """
    if type_.rank - 2 not in ((rank,) if rank else AXES):
        wanted = FORMS[rank] if rank else ", ".join(FORMS.values())
        raise ShapeError(f"{op} takes {wanted}, got {type_}")
    n, c, *sizes = type_.shape
    return n, check.number(c, type_), tuple(check.number(d, type_) for d in sizes)


def image(type_: TensorType, op: str) -> tuple[Dim, int, int, int]:
    """(batch, channels, height, width) of an image of floats; raises ShapeError for anything else."""
    n, c, (h, w) = plane(type_, op, 2)
    check.floating(type_, op)
    return n, c, h, w


def output_size(
    size: tuple[int, ...],
    pads: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] | None = None,
    ceil: bool = False,
) -> tuple[int, ...]:
    """Windows along each axis of a plane of ``size``; raises ShapeError when none fits.

    ``ceil`` also counts a last window that hangs over the end, if it starts inside the plane or the
    padding before it (ONNX and PyTorch ceil_mode).
    """
    rank, counts = len(size), []
    for i in range(rank):
        step = dilation[i] if dilation else 1
        padded = size[i] + pads[i] + pads[i + rank]
        rest = padded - step * (kernel[i] - 1) - 1
        if rest < 0:
            raise ShapeError(
                f"kernel {kernel[i]} (dilation {step}) is larger than the padded {AXES[rank][i]} {padded}"
            )
        count = rest // stride[i] + 1
        if ceil and rest % stride[i] and count * stride[i] < size[i] + pads[i]:
            count += 1
        counts.append(count)
    return tuple(counts)


def around(pads: tuple[int, ...]) -> list[tuple[int, int]]:
    """``pads`` in the form of np.pad, for arrays with batch and channels in front."""
    rank = len(pads) // 2
    return [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]


def taps(
    x: np.ndarray,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    out: tuple[int, ...],
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """(tap, view [N, C, *out]) for each tap of the kernel over padded values ``x`` [N, C, ...]:
    the elements that this tap of the ``out`` windows sees."""
    for tap in product(*map(range, kernel)):
        seen = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        ]
        yield tap, x[(slice(None), slice(None), *seen)]
