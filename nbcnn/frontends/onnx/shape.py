"""Moves and changes of shape."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ir.types import BATCH, Dim
from nbcnn.ops.blocks import DepthToSpace, SpaceToDepth
from nbcnn.ops.concat import Concat
from nbcnn.ops.pad import Pad
from nbcnn.ops.repeat import Expand, Tile
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.split import Split
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze


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
        count, rank = len(call.outputs), call.rank(0)
        named = call.integer("num_outputs", count)
        call.refuse_unless(named == count, f"num_outputs is {named}, but {count} are named")
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
    return call.last("Transpose", call.x, perm=call.op.perm) if call.op.perm else call.x


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
    call.last(Reshape((math.prod(int(d) for d in rows), -1)), call.x)
    return None


def write_flatten(call: WriteCall) -> str:
    if call.op.axis == 1:
        return call.last("Flatten", call.x, axis=1)
    shape = call.constant("shape", np.array([0] * call.op.axis + [-1]))
    return call.last("Reshape", call.x, shape)


def read_reshape(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    shape: tuple[Dim, ...] = call.dims(1) if call.opset >= 5 else call.integers("shape")
    op, x = Reshape(shape, call.flag("allowzero", False)), call.type(0)  # type: ignore[arg-type]
    rows = x.rank > 2 and len(shape) == 2 and op.infer(x)[0].shape[0] == x.shape[0]
    call.last(Flatten(1) if rows else op, call.x)


def write_reshape(call: WriteCall) -> str:
    shape = call.constant("shape", np.array(call.op.shape, np.int64))
    return call.last("Reshape", call.x, shape, **({"allowzero": 1} if call.op.allowzero else {}))


def read_pad(call: ReadCall) -> None:
    """Only the axes that are padded are named; the plane, where it is padded at all."""
    mode, rank = call.text("mode", "constant"), call.rank(0)
    if call.opset < 11:
        pads, value = call.integers("pads"), call.number("value", 0.0)
    else:
        pads, value = call.ints(1), call.scalar(2) if call.has(2) else 0.0
    axes = call.ints(3) if call.has(3) else tuple(range(rank))
    call.refuse_unless(all(-rank <= a < rank for a in axes), f"axes {list(axes)} of {call.type(0)}")
    call.refuse_unless(len(pads) == 2 * len(axes), f"{len(pads)} pads for {len(axes)} axes")
    call.refuse_unless(len({a % rank for a in axes}) == len(axes), f"axes {list(axes)} name one twice")
    pairs = {a % rank: pair for a, pair in zip(axes, zip(pads, pads[len(axes) :], strict=False), strict=True)}
    found = sorted(a for a, pair in pairs.items() if any(pair))
    if not found:
        return call.result(call.x)
    if rank == 4 and found[0] >= 2:
        found = [2, 3]
    padding = [pairs.get(a, (0, 0))[side] for side in (0, 1) for a in found]
    plane = {} if found == [rank - 2, rank - 1] else {"axes": tuple(found)}
    call.last(Pad(tuple(padding), float(value) if mode == "constant" else 0.0, mode, **plane), call.x)
    return None


def write_pad(call: WriteCall) -> str:
    """Elements wrapped around are gathered, as opset 17 has no mode for them."""
    op, x = call.op, call.types[0]
    around = op.around(x)
    if op.mode == "wrap":
        value = call.x
        for number, (axis, pads) in enumerate(around.items()):
            (places,) = Pad(pads, mode="wrap", axes=(0,)).reference(np.arange(x.shape[axis]))
            places = call.constant(f"places{axis}", places)
            last = number == len(around) - 1
            value = (call.last if last else call.part)("Gather", value, places, axis=axis)
        return value
    pads = [around.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(x.rank)]
    value = [call.number("value", op.value)] if op.mode == "constant" else []
    return call.last("Pad", call.x, call.constant("pads", np.array(pads, np.int64)), *value, mode=op.mode)


def read_squeeze(call: ReadCall) -> None:
    operand = call.ints(1) if call.opset >= 13 and call.has(1) else None
    call.last(Squeeze(call.integers("axes", None) if call.opset < 13 else operand), call.x)


def read_unsqueeze(call: ReadCall) -> None:
    call.last(Unsqueeze(call.ints(1) if call.opset >= 13 else call.integers("axes")), call.x)


def write_squeeze(call: WriteCall) -> str:
    axes, kind = call.op.along(call.types[0]), "Squeeze" if call.op.name == "squeeze" else "Unsqueeze"
    return call.last(kind, call.x, call.constant("axes", np.array(axes, np.int64))) if axes else call.x


def read_expand(call: ReadCall) -> None:
    """The batch may stand where the operand has it."""
    shape, given = call.dims(1), call.shape(0)
    if BATCH in shape:
        place = shape.index(BATCH) - len(shape) + len(given)
        call.refuse_unless(place == 0 and given[0] == BATCH, "a constant repeated for each of the batch")
    call.last(Expand(shape), call.x)  # type: ignore[arg-type]


def write_expand(call: WriteCall) -> str:
    return call.last("Expand", call.x, call.constant("shape", np.array(call.op.shape, np.int64)))


def read_tile(call: ReadCall) -> None:
    call.last(Tile(call.ints(1)), call.x)


def write_tile(call: WriteCall) -> str:
    return call.last("Tile", call.x, call.constant("repeats", np.array(call.op.repeats, np.int64)))


def read_depth_to_space(call: ReadCall) -> None:
    op = DepthToSpace if call.kind == "DepthToSpace" else SpaceToDepth
    mode = call.text("mode", "DCR")
    call.refuse_unless(mode in ("DCR", "CRD"), f"mode '{mode}'")
    call.last(op(call.integer("blocksize"), mode), call.x)


def write_depth_to_space(call: WriteCall) -> str:
    return call.last("DepthToSpace", call.x, blocksize=call.op.blocksize, mode=call.op.mode)


def write_space_to_depth(call: WriteCall) -> str:
    """Opset 17 knows one order of channels; the other is put together from moves."""
    b, x = call.op.blocksize, call.types[0]
    if call.op.mode == "DCR":
        return call.last("SpaceToDepth", call.x, blocksize=b)
    _, c, h, w = (d if isinstance(d, int) else -1 for d in x.shape)
    parts = call.constant("blocks", np.array([0, c, h // b, b, w // b, b]))
    parts = call.part("Transpose", call.part("Reshape", call.x, parts), perm=(0, 1, 3, 5, 2, 4))
    return call.last("Reshape", parts, call.constant("channels", np.array([0, c * b * b, h // b, w // b])))


def read_size(call: ReadCall) -> None:
    """The number of elements, as far as it is known here."""
    shape = call.shape(0)
    open_ = [d for d in shape if isinstance(d, str)]
    rest = math.prod(d for d in shape if isinstance(d, int))
    call.refuse_unless(not open_ or (open_ == [BATCH] and rest == 1), f"the size of {call.type(0)} is open")
    call.result(call.extents((BATCH if open_ else rest,), 0))


def read_range(call: ReadCall) -> None:
    start, limit, delta = (call.array(slot).reshape(()) for slot in (0, 1, 2))
    finite = all(np.isfinite(v) for v in (start, limit, delta))
    call.refuse_unless(finite and delta != 0, f"from {start} to {limit} by {delta}")
    count = max(int(np.ceil((limit - start) / delta)), 0)
    call.refuse_unless(count <= 2**24, f"{count:,} elements")
    call.result(call.constant((start + np.arange(count) * delta).astype(start.dtype), "range"))


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
    "Size": read_size,
    "Range": read_range,
    "Squeeze": read_squeeze,
    "Unsqueeze": read_unsqueeze,
    "Expand": read_expand,
    "Tile": read_tile,
    "DepthToSpace": read_depth_to_space,
    "SpaceToDepth": read_depth_to_space,
}
EXPORT = {
    "concat": write_concat,
    "split": write_split,
    "transpose": write_transpose,
    "flatten": write_flatten,
    "reshape": write_reshape,
    "pad": write_pad,
    "squeeze": write_squeeze,
    "unsqueeze": write_squeeze,
    "expand": write_expand,
    "tile": write_tile,
    "depth_to_space": write_depth_to_space,
    "space_to_depth": write_space_to_depth,
}
