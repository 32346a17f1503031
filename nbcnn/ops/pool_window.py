"""What all pooling over windows shares: the window's attributes and what each of its taps sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, window

MOST_WINDOWS = 1 << 24
"""Along one axis: far beyond any image, and small enough to look at each of them."""


class PoolWindow(Op):
    """Base of the pools, frozen dataclasses with these fields.

    A number stands for every axis of the plane, however many the operand has. Attributes that differ
    from axis to axis are lists, and fix how many there are: 1 for [N, C, L], 2 for [N, C, H, W], 3 for
    [N, C, D, H, W]. `at` gives the numbers for an operand; where all axes are alike the fields hold two.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: window.AnyPadding
    dilation: tuple[int, ...]
    ceil_mode: bool

    def __post_init__(self) -> None:
        given: dict[str, Any] = {
            "kernel": self.kernel,
            "stride": self.kernel if self.stride is window.AS_KERNEL else self.stride,
            "dilation": self.dilation,
        }
        rank = _rank(given, self.padding)
        for field, value in given.items():
            object.__setattr__(self, field, window.spread(_one(value), rank))
            window.positive(field, getattr(self, field))
        padding = self.padding if isinstance(self.padding, str) else _one(self.padding)
        object.__setattr__(self, "padding", window.normal_padding(padding, rank))

    def at(self, x: TensorType) -> window.Geometry:
        """The window over an operand of type ``x``; raises ShapeError where it has other axes."""
        _, _, size = window.plane(x, self.name)
        rank = len(size)
        numbers = [self.kernel, self.stride, self.dilation]
        padding: Any = self.padding
        if len(self.kernel) != rank:
            listed = [*numbers, *([] if isinstance(padding, str) else [padding])]
            if any(len(set(value)) > 1 for value in listed):
                raise ShapeError(f"{self.name} is given for {len(self.kernel)} axes, and {x} has {rank}")
            numbers = [value[:1] * rank for value in numbers]
            padding = padding if isinstance(padding, str) else padding[:1] * 2 * rank
        kernel, stride, dilation = numbers
        pads = window.pads(padding, size, kernel, stride, dilation)
        return window.Geometry(kernel, stride, dilation, pads)

    def pads(self, x: TensorType) -> tuple[int, ...]:
        """The padding before each axis of ``x``, then that behind each; ceil_mode may read beyond it."""
        return self.at(x).pads

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x = types[0]
        n, c, size = window.plane(x, self.name)
        self.accept(x)
        at = self.at(x)
        out = window.output_size(size, at.pads, at.kernel, at.stride, at.dilation, self.ceil_mode)
        for i, axis in enumerate(window.AXES[len(size)]):
            if out[i] > MOST_WINDOWS:
                raise ShapeError(f"{self.name} has {out[i]:,} windows along the {axis}: too many")
            first = np.arange(out[i]) * at.stride[i] - at.pads[i]
            tap = np.maximum(-(first // at.dilation[i]), 0)  # the first that does not lie before the plane
            if not ((tap < at.kernel[i]) & (first + tap * at.dilation[i] < size[i])).all():
                raise ShapeError(
                    f"a window of {self.name} would see nothing but padding along the {axis} of {x}"
                )
        return (TensorType((n, c, *out), x.dtype),)

    def accept(self, x: TensorType) -> None:
        """Raise ShapeError for a dtype that the operator does not take."""
        check.floating(x, self.name)

    def taps(self, x: np.ndarray, beyond: float, padding: float) -> Iterator[np.ndarray]:
        """What each tap sees, [N, C, *out], with the two fill values around the plane."""
        type_ = TensorType(x.shape)
        at = self.at(type_)
        out = tuple(PoolWindow.infer(self, type_)[0].extents()[2:])
        x = np.pad(x, window.around(at.pads), constant_values=padding)
        reach = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(out, at.stride, at.dilation, at.kernel, strict=True)
        ]
        over = [(0, max(need - have, 0)) for need, have in zip(reach, x.shape[2:], strict=True)]
        x = np.pad(x, [(0, 0), (0, 0), *over], constant_values=beyond)
        for _, seen in window.taps(x, at.kernel, at.stride, at.dilation, out):
            yield seen


def _one(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """A list of equal numbers as that number."""
    if isinstance(value, int):
        return value
    numbers = tuple(int(v) for v in value)
    if len(numbers) not in (1, 2, 3, 4, 6):
        raise ShapeError(f"expected a number for each of 1 to 3 axes, for padding one or two, got {value}")
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _rank(given: dict[str, Any], padding: Any) -> int:
    """How many axes the lists are for: 2 where no number differs from the others of its list."""
    ranks = {len(value) for value in map(_one, given.values()) if not isinstance(value, int)}
    if not isinstance(padding, str) and not isinstance(numbers := _one(padding), int):
        single = not isinstance(given["kernel"], int) and len(given["kernel"]) == 1
        ranks.add(1 if single and len(numbers) == 2 else {2: 2, 3: 3, 4: 2, 6: 3}[len(numbers)])
    if len(ranks) > 1:
        raise ShapeError(f"the lists of kernel, stride, padding and dilation are for {sorted(ranks)} axes")
    return ranks.pop() if ranks else 2
