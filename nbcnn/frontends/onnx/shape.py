"""Moves and changes of shape."""

from __future__ import annotations

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ir.types import BATCH, Dim
from nbcnn.ops.concat import Concat
from nbcnn.ops.pad import Pad
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.split import Split
from nbcnn.ops.transpose import Transpose


def read_concat(call: ReadCall) -> None:
    call.last(Concat(call.integer("axis", 1) if call.opset < 4 else call.integer("axis")), *call.given)


def write_concat(call: WriteCall) -> str:
    return call.last("Concat", *call.inputs, axis=call.op.axis)


def read_split(call: ReadCall) -> None:
    axis = call.integer("axis", 0)
    if call.opset < 13 and call.has_attribute("split"):
        sizes = call.integers("split")
    elif call.opset >= 13 and call.has(1):
        sizes = call.ints(1)
    else:
        count, rank = call.integer("num_outputs", len(call.outputs)), call.rank(0)
        call.refuse_unless(-rank <= axis < rank, f"axis {axis} of {call.type(0)}")
        size = call.shape(0)[axis]
        if isinstance(size, str):
            call.fail(f"the extent '{size}' is open")
        part = -(-size // count)
        sizes = (*(part,) * (count - 1), size - part * (count - 1))
    call.last(Split(sizes, axis), call.x)


def write_split(call: WriteCall) -> str:
    return call.last("Split", call.x, call.constant("sizes", np.array(call.op.sizes)), axis=call.op.axis)


def read_transpose(call: ReadCall) -> None:
    call.last(Transpose(call.integers("perm", tuple(reversed(range(call.rank(0)))))), call.x)


def write_transpose(call: WriteCall) -> str:
    return call.last("Transpose", call.x, perm=call.op.perm)


def read_flatten(call: ReadCall) -> None:
    axis, rank = call.integer("axis", 1), call.rank(0)
    call.refuse_unless(-rank <= axis <= rank, f"axis {axis} of {call.type(0)}")
    axis = axis + rank if axis < 0 else axis
    if axis == 1 and rank > 1:
        return call.last(Flatten(1), call.x)
    rows = call.shape(0)[:axis]
    if BATCH in rows:
        call.refuse_unless(all(d in (BATCH, 1) for d in rows), f"axis {axis} joins the batch with others")
        return call.last(Reshape((0, -1)), call.x)
    call.last(Reshape((int(np.prod(rows, dtype=np.int64)), -1)), call.x)
    return None


def write_flatten(call: WriteCall) -> str:
    if call.op.axis == 1:
        return call.last("Flatten", call.x, axis=1)
    shape = call.constant("shape", np.array([0] * call.op.axis + [-1]))
    return call.last("Reshape", call.x, shape)


def read_reshape(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    shape: tuple[Dim, ...] = call.dims(1) if call.opset >= 5 else call.integers("shape")
    call.refuse_unless(not call.flag("allowzero", False) or 0 not in shape, "allowzero with an extent of 0")
    op, x = Reshape(shape), call.type(0)  # type: ignore[arg-type]
    rows = x.rank > 2 and len(shape) == 2 and op.infer(x)[0].shape[0] == x.shape[0]
    call.last(Flatten(1) if rows else op, call.x)


def write_reshape(call: WriteCall) -> str:
    return call.last("Reshape", call.x, call.constant("shape", np.array(call.op.shape)))


def read_pad(call: ReadCall) -> None:
    call.refuse_unless(call.text("mode", "constant") == "constant", "modes other than constant")
    if call.opset < 11:
        pads, value = call.integers("pads"), call.number("value", 0.0)
    else:
        pads, value = call.ints(1), call.scalar(2) if call.has(2) else 0.0
        call.refuse_unless(not call.has(3), "axes")
    call.refuse_unless(len(pads) == 8 and not any(pads[i] for i in (0, 1, 4, 5)), f"pads {list(pads)}")
    call.last(Pad((pads[2], pads[3], pads[6], pads[7]), value), call.x)


def write_pad(call: WriteCall) -> str:
    top, left, bottom, right = call.op.padding
    pads = call.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
    return call.last("Pad", call.x, pads, call.number("value", call.op.value))


def read_shape(call: ReadCall) -> None:
    """The extents are known here, but for the batch."""
    dims, rank = call.shape(0), call.rank(0)
    start, end = call.integer("start", 0), call.integer("end", rank)
    call.result(call.extents(dims[slice(start, end)]))


IMPORT = {
    "Concat": read_concat,
    "Split": read_split,
    "Transpose": read_transpose,
    "Flatten": read_flatten,
    "Reshape": read_reshape,
    "Pad": read_pad,
    "Shape": read_shape,
}
EXPORT = {
    "concat": write_concat,
    "split": write_split,
    "transpose": write_transpose,
    "flatten": write_flatten,
    "reshape": write_reshape,
    "pad": write_pad,
}
