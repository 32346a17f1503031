"""Sliding windows: the attributes and arithmetic that convolution and pooling share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.types import Dim, TensorType

Pair = int | tuple[int, int]
"""A height and width; one number stands for both."""

Padding = Literal["same", "valid"] | int | tuple[int, int] | tuple[int, int, int, int]
"""``same`` (ONNX SAME_UPPER), ``valid`` (none), one number, (height, width) or (top, left, bottom, right)."""


def pair(value: Pair) -> tuple[int, int]:
    """(height, width) from one number or two."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def positive(name: str, value: tuple[int, ...] | int) -> None:
    """Raise ShapeError unless every number of attribute ``name`` is at least 1."""
    if min(value if isinstance(value, tuple) else (value,)) < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")


def normal_padding(padding: Padding) -> Padding:
    """A word as it is, numbers as (top, left, bottom, right); raises ShapeError for negative ones."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ShapeError(f"padding must be 'same', 'valid' or numbers, got '{padding}'")
        return (0, 0, 0, 0) if padding == "valid" else padding
    numbers = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    if len(numbers) == 2:
        numbers = numbers * 2
    if len(numbers) != 4 or min(numbers) < 0:
        raise ShapeError(f"padding must be 1, 2 or 4 numbers that are not negative, got {padding}")
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
        return normal_padding(padding)  # type: ignore[return-value]
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
    n, c, h, w = type_.shape
    for extent in (c, h, w):
        if isinstance(extent, str):
            raise ShapeError(f"extent '{extent}' of {type_} is not bound: give shapes={{'{extent}': ...}}")
    return n, int(c), int(h), int(w)


def patches(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    out: tuple[int, int],
) -> np.ndarray:
    """A view [N, C, OH, OW, KH, KW] of the windows of padded images ``x`` [N, C, H, W]."""
    n, c, _, _ = x.shape
    sn, sc, sh, sw = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (n, c, *out, *kernel),
        (sn, sc, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1]),
        writeable=False,
    )
