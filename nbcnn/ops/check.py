"""Checks of operand types that several operator families share."""

from __future__ import annotations

from nbcnn.errors import ShapeError
from nbcnn.ir.types import Dim, TensorType


def floating(type_: TensorType, op: str) -> None:
    """Raise ShapeError unless ``type_`` holds floats."""
    if not type_.dtype.startswith("float"):
        raise ShapeError(f"{op} takes floats, got {type_}")


def number(extent: Dim, type_: TensorType) -> int:
    """An extent of ``type_`` that has to be a number; raises ShapeError for a symbol."""
    if isinstance(extent, str):
        raise ShapeError(f"extent '{extent}' of {type_} is not bound: give shapes={{'{extent}': ...}}")
    return extent


def axis(value: int, type_: TensorType, op: str) -> int:
    """Axis ``value`` of ``type_``, counted from the front; raises ShapeError when there is none."""
    if not -type_.rank <= value < type_.rank:
        raise ShapeError(f"{op} along axis {value}, but {type_} has {type_.rank} axes")
    return value % type_.rank


def broadcast(a: TensorType, b: TensorType, op: str) -> TensorType:
    """The type that NumPy's broadcasting gives; a symbol meets itself or 1, nothing else."""
    if a.dtype != b.dtype:
        raise ShapeError(f"{op} takes operands of one dtype, got {a} and {b}")
    rank = max(a.rank, b.rank)
    shape: list[Dim] = []
    for place in range(rank):
        one, two = (t.shape[place - rank] if place - rank >= -t.rank else 1 for t in (a, b))
        if one != two and 1 not in (one, two):
            raise ShapeError(f"{op} cannot broadcast {a} with {b}: {one} meets {two} on axis {place}")
        shape.append(two if one == 1 else one)
    return TensorType(tuple(shape), a.dtype)
