"""Reductions along axes."""

from __future__ import annotations

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reduce import ReduceMean


def read_axes(call: ReadCall, since: int = 18) -> tuple[int, ...]:
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


def read_reduce_mean(call: ReadCall) -> None:
    axes, keepdims = read_axes(call), call.flag("keepdims", True)
    if not axes:
        return call.result(call.x)
    if axes == (2, 3) and keepdims and call.rank(0) == 4:
        return call.last(GlobalAvgPool(), call.x)
    call.last(ReduceMean(axes, keepdims), call.x)
    return None


def write_reduce_mean(call: WriteCall) -> str:
    return call.last("ReduceMean", call.x, axes=call.op.along(call.types[0]), keepdims=int(call.op.keepdims))


IMPORT = {"ReduceMean": read_reduce_mean}
EXPORT = {"reduce_mean": write_reduce_mean}
