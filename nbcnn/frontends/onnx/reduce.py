"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops import reduce
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reduce import ReduceMean

KINDS: dict[str, type[Any]] = {
    "ReduceSum": reduce.ReduceSum,
    "ReduceMean": reduce.ReduceMean,
    "ReduceProd": reduce.ReduceProd,
    "ReduceMax": reduce.ReduceMax,
    "ReduceMin": reduce.ReduceMin,
    "ReduceL1": reduce.ReduceL1,
    "ReduceL2": reduce.ReduceL2,
    "ReduceLogSum": reduce.ReduceLogSum,
    "ReduceLogSumExp": reduce.ReduceLogSumExp,
    "ReduceSumSquare": reduce.ReduceSumSquare,
}

ALONE = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log", "ReduceSumSquare": "Mul"}
"""What is left of a reduction along no axis; nothing for the others."""


def read_axes(call: ReadCall, since: int) -> tuple[int, ...]:
    """Axes of a reduction, not negative and in order: an attribute before opset ``since``, then operand 1.

    All axes when none are given, none when ``noop_with_empty_axes`` is set.
    """
    rank = call.rank(0)
    axes = (call.ints(1) if call.has(1) else ()) if call.opset >= since else call.integers("axes", ())
    if not axes:
        return () if call.flag("noop_with_empty_axes", False) else tuple(range(rank))
    call.ignore("noop_with_empty_axes")
    for axis in axes:
        call.refuse_unless(-rank <= axis < rank, f"axis {axis} of {call.type(0)}")
    return tuple(sorted({axis % rank for axis in axes}))


def read_reduce(call: ReadCall) -> None:
    axes = read_axes(call, 13 if call.kind == "ReduceSum" else 18)
    keepdims, kind = call.flag("keepdims", True), KINDS[call.kind]
    if not axes and call.kind not in ALONE:
        return call.result(call.x)
    plane = axes == (2, 3) and keepdims and call.rank(0) == 4 and "float" in call.type(0).dtype
    call.last(GlobalAvgPool() if kind is ReduceMean and plane else kind(axes, keepdims), call.x)
    return None


def write_reduce(kind: str) -> Callable[[WriteCall], str]:
    """The row of the reduction ``kind``: axes are an operand of ReduceSum, an attribute of the others."""

    def write(call: WriteCall) -> str:
        axes, keepdims = call.op.along(call.types[0]), int(call.op.keepdims)
        if not axes:
            square = [call.x] if kind == "ReduceSumSquare" else []
            return call.last(ALONE[kind], call.x, *square) if kind in ALONE else call.x
        if kind == "ReduceSum":
            return call.last(kind, call.x, call.constant("axes", np.array(axes)), keepdims=keepdims)
        return call.last(kind, call.x, axes=axes, keepdims=keepdims)

    return write


IMPORT = dict.fromkeys(KINDS, read_reduce)
EXPORT = {op.name: write_reduce(kind) for kind, op in KINDS.items()}
