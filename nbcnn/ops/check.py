"""Checks of operand types that several operator families share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbcnn.errors import ShapeError
from nbcnn.ir.types import BATCH, PACKED, Dim, TensorType

MAX_RANK = 64
"""The most axes that a NumPy array can have."""

FLOATS, INTEGERS, NUMBERS, TRUTH, ANY = "f", "iu", "fiu", "b", "fiub"
"""What an operator takes, by the first letters of the kinds of dtype: float, int, uint, bool."""

_WORDS = {"f": "floats", "i": "integers", "u": "unsigned integers", "b": "truth values"}


def floating(type_: TensorType, op: str) -> None:
    """Raise ShapeError unless ``type_`` holds floats."""
    kinds(type_, op, FLOATS)


def kinds(type_: TensorType, op: str, allowed: str) -> None:
    """Raise ShapeError unless ``type_`` holds numbers of a kind that is ``allowed``."""
    if kind(type_) not in allowed:
        words = [_WORDS[k] for k in allowed if not (k == "u" and "i" in allowed)]
        raise ShapeError(f"{op} takes {' or '.join(words)}, got {type_}")


def kind(type_: TensorType) -> str:
    """``f``, ``i``, ``u`` or ``b``: floats (bfloat16 is one), integers, unsigned ones, truth values.

    ``p`` is a packed dtype, in which nothing is computed.
    """
    if type_.dtype in PACKED:
        return "p"
    return "f" if "float" in type_.dtype else type_.dtype[0]


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


def axes(values: tuple[int, ...] | None, type_: TensorType, op: str) -> tuple[int, ...]:
    """Axes of ``type_`` counted from the front, ascending; all of them for None; none may be named twice."""
    found = range(type_.rank) if values is None else sorted(axis(a, type_, op) for a in values)
    if len(set(found)) < len(found):
        raise ShapeError(f"{op} names an axis twice: {list(values or ())}")
    return tuple(found)


def extent(axis: int, type_: TensorType, op: str) -> int:
    """The extent of an axis along which ``op`` moves or mixes elements; raises ShapeError for the batch."""
    if type_.shape[axis] == BATCH:
        raise ShapeError(f"{op} along axis {axis} of {type_} would mix the batch")
    return number(type_.shape[axis], type_)


def result(shape: Iterable[Dim], dtype: str, op: str) -> TensorType:
    """The type of a result; raises ShapeError where the batch is not its first axis, or axes are too many."""
    type_ = TensorType(tuple(shape), dtype)
    if type_.rank > MAX_RANK:
        raise ShapeError(f"{op} would make {type_.rank} axes, over the limit of {MAX_RANK}")
    if BATCH in type_.shape[1:]:
        raise ShapeError(f"{op} would make {type_}: the batch must stay the first axis")
    return type_


def broadcast(a: TensorType, b: TensorType, op: str) -> TensorType:
    """The type that NumPy's broadcasting gives; a symbol meets itself or 1, nothing else."""
    if a.dtype != b.dtype:
        raise ShapeError(f"{op} takes operands of one dtype, got {a} and {b}")
    return TensorType(broadcast_shape((a, b), op), a.dtype)


def broadcast_shape(types: Sequence[TensorType], op: str) -> tuple[Dim, ...]:
    """The shape that NumPy's broadcasting gives to operands of ``types``, whatever their dtypes."""
    rank = max(t.rank for t in types)
    shape: list[Dim] = []
    for place in range(rank):
        extents = [t.shape[place - rank] if place - rank >= -t.rank else 1 for t in types]
        wide = list(dict.fromkeys(d for d in extents if d != 1))
        if len(wide) > 1:
            among = " with ".join(map(str, types))
            raise ShapeError(f"{op} cannot broadcast {among}: {wide[0]} meets {wide[1]} on axis {place}")
        shape.append(wide[0] if wide else 1)
    return tuple(shape)
