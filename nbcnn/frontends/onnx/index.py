"""Parts of operands, picked by slices, by indices, by order."""

from __future__ import annotations

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ir.types import BATCH
from nbcnn.ops.gather import Gather, GatherElements, GatherNd
from nbcnn.ops.one_hot import OneHot
from nbcnn.ops.rank import ArgMax, ArgMin, TopK
from nbcnn.ops.scan import CumSum, Trilu
from nbcnn.ops.scatter import ScatterElements, ScatterNd
from nbcnn.ops.slice import END, Slice
from nbcnn.ops.unit_axes import Squeeze

INT64 = 7
"""ONNX's number for this dtype, which some operators want their indices in."""


def _indices(call: WriteCall, slot: int) -> str:
    """Operand ``slot`` as int64."""
    if call.types[slot].dtype == "int64":
        return call.inputs[slot]
    return call.part("Cast", call.inputs[slot], to=INT64)


def read_slice(call: ReadCall) -> None:
    """Attributes before opset 10, operands since. An end that is the batch takes all of it."""
    if call.opset < 10:
        starts, ends = call.integers("starts"), call.integers("ends")
        axes, steps = call.integers("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = call.ints(1), call.dims(2)
        axes = call.ints(3) if call.has(3) else tuple(range(len(starts)))
        steps = call.ints(4) if call.has(4) else (1,) * len(starts)
    call.refuse_unless(len(ends) == len(axes) == len(starts), "starts, ends and axes of different lengths")
    found = []
    for axis, end in zip(axes, ends, strict=True):
        if end == BATCH:
            rank = call.rank(0)
            whole = -rank <= axis < rank and call.shape(0)[axis] == BATCH
            call.refuse_unless(whole, f"the batch as the end of axis {axis}")
        found.append(END if end == BATCH else end)
    call.last(Slice(starts, tuple(found), axes, steps), call.x)


def write_slice(call: WriteCall) -> str:
    op = call.op
    parts = (("starts", op.starts), ("ends", op.ends), ("axes", op.axes), ("steps", op.steps))
    return call.last("Slice", call.x, *(call.constant(name, np.array(v, np.int64)) for name, v in parts))


def read_gather(call: ReadCall) -> None:
    """Constant indices in a row are a slice, one alone is a slice without its axis."""
    axis, rank = call.integer("axis", 0), call.rank(0)
    call.refuse_unless(-rank <= axis < rank, f"axis {axis} of {call.type(0)}")
    part = _slice(call, axis % rank) if call.is_constant(1) and call.builder.known(call.x) is None else None
    if part is None:
        return call.last(Gather(axis), *call.inputs)
    if call.rank(1):
        return call.last(part, call.x)
    call.last(Squeeze((axis % rank,)), call.part(part, call.x))
    return None


def _slice(call: ReadCall, axis: int) -> Slice | None:
    """The slice that takes what the indices name, if there is one."""
    extent, indices = call.shape(0)[axis], call.array(1)
    if isinstance(extent, str) or indices.ndim > 1 or indices.size == 0 or indices.dtype.kind != "i":
        return None
    places = np.where(indices < 0, indices + extent, indices).ravel()
    if places.min() < 0 or places.max() >= extent:
        return None
    step = int(places[1] - places[0]) if places.size > 1 else 1
    if step == 0 or (np.diff(places) != step).any():
        return None
    end = int(places[-1]) + (1 if step > 0 else -1)
    return Slice((int(places[0]),), (end if end >= 0 else -END,), (axis,), (step,))


def write_gather(call: WriteCall) -> str:
    return call.last("Gather", *call.inputs, axis=call.op.axis)


def read_gather_elements(call: ReadCall) -> None:
    call.last(GatherElements(call.integer("axis", 0)), *call.inputs)


def write_gather_elements(call: WriteCall) -> str:
    return call.last("GatherElements", *call.inputs, axis=call.op.axis)


def read_gather_nd(call: ReadCall) -> None:
    call.last(GatherNd(call.integer("batch_dims", 0)), *call.inputs)


def write_gather_nd(call: WriteCall) -> str:
    return call.last("GatherND", call.x, _indices(call, 1), batch_dims=call.op.batch_dims)


def read_scatter_elements(call: ReadCall) -> None:
    call.last(ScatterElements(call.integer("axis", 0), call.text("reduction", "none")), *call.inputs)


def read_scatter_nd(call: ReadCall) -> None:
    call.last(ScatterNd(call.text("reduction", "none")), *call.inputs)


def write_scatter(call: WriteCall) -> str:
    op = call.op
    elements = isinstance(op, ScatterElements)
    extra = {} if op.combine == "none" else {"reduction": op.combine}
    extra |= {"axis": op.axis} if elements else {}
    kind = "ScatterElements" if elements else "ScatterND"
    return call.last(kind, call.x, _indices(call, 1), call.inputs[2], **extra)


def read_arg_max(call: ReadCall) -> None:
    op = ArgMax if call.kind == "ArgMax" else ArgMin
    last = call.flag("select_last_index", False)
    call.last(op(call.integer("axis", 0), call.flag("keepdims", True), last), call.x)


def write_arg_max(call: WriteCall) -> str:
    op = call.op
    kind = "ArgMax" if isinstance(op, ArgMax) else "ArgMin"
    return call.last(kind, call.x, axis=op.axis, keepdims=int(op.keepdims), select_last_index=int(op.last))


def read_top_k(call: ReadCall) -> None:
    """Sorted always, which is one of the orders that ``sorted: 0`` allows."""
    call.ignore("sorted")
    k = call.integer("k") if call.opset < 10 else call.scalar(1)
    call.last(TopK(int(k), call.integer("axis", -1), call.flag("largest", True)), call.x)


def write_top_k(call: WriteCall) -> str:
    k = call.constant("k", np.array([call.op.k], np.int64))
    return call.last("TopK", call.x, k, axis=call.op.axis, largest=int(call.op.largest))


def read_cum_sum(call: ReadCall) -> None:
    axis, exclusive, reverse = call.scalar(1), call.flag("exclusive", False), call.flag("reverse", False)
    call.last(CumSum(int(axis), exclusive, reverse), call.x)


def write_cum_sum(call: WriteCall) -> str:
    op, axis = call.op, call.constant("axis", np.array(call.op.axis, np.int64))
    return call.last("CumSum", call.x, axis, exclusive=int(op.exclusive), reverse=int(op.reverse))


def read_trilu(call: ReadCall) -> None:
    call.last(Trilu(call.flag("upper", True), int(call.scalar(1)) if call.has(1) else 0), call.x)


def write_trilu(call: WriteCall) -> str:
    return call.last("Trilu", call.x, call.constant("k", np.array(call.op.k)), upper=int(call.op.upper))


def read_one_hot(call: ReadCall) -> None:
    call.last(OneHot(int(call.scalar(1)), call.integer("axis", -1)), call.x, call.operand(2))


def write_one_hot(call: WriteCall) -> str:
    depth = call.constant("depth", np.array(call.op.depth, np.int64))
    return call.last("OneHot", _indices(call, 0), depth, call.inputs[1], axis=call.op.axis)


def read_non_zero(call: ReadCall) -> None:
    """How many there are has to be known here."""
    call.result(call.constant(np.stack(np.nonzero(np.atleast_1d(call.array(0)))).astype(np.int64), "places"))


IMPORT = {
    "Slice": read_slice,
    "Gather": read_gather,
    "GatherElements": read_gather_elements,
    "GatherND": read_gather_nd,
    "Scatter": read_scatter_elements,
    "ScatterElements": read_scatter_elements,
    "ScatterND": read_scatter_nd,
    "ArgMax": read_arg_max,
    "ArgMin": read_arg_max,
    "TopK": read_top_k,
    "CumSum": read_cum_sum,
    "Trilu": read_trilu,
    "OneHot": read_one_hot,
    "NonZero": read_non_zero,
}
EXPORT = {
    "slice": write_slice,
    "gather": write_gather,
    "gather_elements": write_gather_elements,
    "gather_nd": write_gather_nd,
    "scatter_elements": write_scatter,
    "scatter_nd": write_scatter,
    "arg_max": write_arg_max,
    "arg_min": write_arg_max,
    "top_k": write_top_k,
    "cum_sum": write_cum_sum,
    "trilu": write_trilu,
    "one_hot": write_one_hot,
}
