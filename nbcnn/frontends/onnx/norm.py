"""Normalisation."""

from __future__ import annotations

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.group_norm import GroupNorm, InstanceNorm, MeanVarianceNormalization
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.lp_normalization import LpNormalization
from nbcnn.ops.lrn import Lrn


def read_batch_norm(call: ReadCall) -> None:
    call.ignore("momentum", "consumed_inputs", "is_test")  # what only training reads
    call.refuse_unless(call.integer("spatial", 1) == 1, "statistics for every element (spatial 0)")
    call.refuse_unless(call.integer("training_mode", 0) == 0, "training")
    call.refuse_unless(not any(call.outputs[1:]), "the statistics of training")
    call.last(BatchNorm(call.number("epsilon", 1e-5)), *call.inputs)


def write_batch_norm(call: WriteCall) -> str:
    return call.last("BatchNormalization", *call.inputs, epsilon=call.op.epsilon)


def read_instance_norm(call: ReadCall) -> None:
    call.ignore("consumed_inputs")
    call.last(InstanceNorm(call.number("epsilon", 1e-5)), *call.inputs)


def write_instance_norm(call: WriteCall) -> str:
    return call.last("InstanceNormalization", *call.inputs, epsilon=call.op.epsilon)


def read_group_norm(call: ReadCall) -> None:
    _full_precision(call)
    groups, channels = call.integer("num_groups"), call.shape(0)[1]
    op = GroupNorm(groups, call.number("epsilon", 1e-5))
    weights = call.inputs[1:]
    if call.opset < 21:  # a weight for each group
        call.refuse_unless(
            isinstance(channels, int) and channels % groups == 0, f"{channels} channels in {groups} groups"
        )
        weights = [call.constant(np.repeat(call.array(i), channels // groups)) for i in (1, 2)]
    call.last(op, call.x, *weights)


def write_group_norm(call: WriteCall) -> str:
    """Each group as one plane of an instance_norm, then a weight and a bias for each channel."""
    op, (x,) = call.op, call.types
    kind, groups, ones = x.dtype, op.num_groups, [1] * (x.rank - 2)
    grouped = call.part("Reshape", call.x, call.constant("grouped", np.array([0, groups, -1])))
    neutral = [call.constant(n, np.full(groups, v, kind)) for n, v in (("scale", 1), ("shift", 0))]
    normal = call.part("InstanceNormalization", grouped, *neutral, epsilon=op.epsilon)
    back = call.part("Reshape", normal, call.constant("shape", np.array([0, *map(int, x.shape[1:])])))
    column = call.constant("column", np.array([int(x.shape[1]), *ones]))
    weight, bias = (call.part("Reshape", v, column) for v in call.inputs[1:])
    return call.last("Add", call.part("Mul", back, weight), bias)


def read_layer_norm(call: ReadCall) -> None:
    _full_precision(call)
    axes = _trailing(call)
    op = LayerNorm(axes, call.number("epsilon", 1e-5), call.has(2), any(call.outputs[1:]))
    call.last(op, call.x, *(_spanning(call, i, axes) for i in (1, 2) if call.has(i)))


def read_rms_norm(call: ReadCall) -> None:
    _full_precision(call)
    axes = _trailing(call)
    call.last(RmsNorm(axes, call.number("epsilon", 1e-5)), call.x, _spanning(call, 1, axes))


def _trailing(call: ReadCall) -> tuple[int, ...]:
    """The axes from ``axis`` on."""
    rank, axis = call.rank(0), call.integer("axis", -1)
    call.refuse_unless(-rank <= axis < rank, f"axis {axis} of {call.type(0)}")
    return tuple(range(axis % rank, rank))


def _spanning(call: ReadCall, slot: int, axes: tuple[int, ...]) -> str:
    """Operand ``slot``, a weight, over all of ``axes``: ONNX lets it broadcast."""
    span = tuple(call.shape(0)[a] for a in axes)
    if call.shape(slot) == span:
        return call.operand(slot)
    array, numbers = call.array(slot), [d for d in span if isinstance(d, int)]
    call.refuse_unless(len(numbers) == len(span), f"normalised along an open extent of {call.type(0)}")
    try:
        return call.constant(np.broadcast_to(array, numbers))
    except ValueError:
        call.fail(f"operand {slot} {call.type(slot)} does not broadcast over {list(span)}")


def _full_precision(call: ReadCall) -> None:
    """Statistics are computed in float32 at least, which is what ``stash_type`` 1 asks for."""
    call.refuse_unless(call.integer("stash_type", 1) == 1, "statistics in another type than float32")


def write_layer_norm(call: WriteCall) -> str:
    op, (x,) = call.op, call.types
    axes = op.along(x)
    first = x.rank - len(axes)
    if axes == tuple(range(first, x.rank)):
        return call.last("LayerNormalization", *call.inputs, axis=first, epsilon=op.epsilon)
    there = [*(i for i in range(x.rank) if i not in axes), *axes]
    back = [there.index(i) for i in range(x.rank)]
    moved = call.part("Transpose", call.x, perm=there)
    parts = [call.writer.fresh(f"{output}.moved") for output in call.outputs]
    attributes = {"axis": first, "epsilon": op.epsilon}
    call.writer.node("LayerNormalization", [moved, *call.inputs[1:]], parts, attributes)
    for part, output in zip(parts, call.outputs, strict=True):
        call.writer.node("Transpose", [part], [output], {"perm": back})
    return call.output


def write_rms_norm(call: WriteCall) -> str:
    op, (x,) = call.op, call.types
    axes = op.along(x)
    mean = call.part("ReduceMean", call.part("Mul", call.x, call.x), axes=axes)
    root = call.part("Sqrt", call.part("Add", mean, call.number("epsilon", op.epsilon)))
    span = [int(x.shape[i]) if i in axes else 1 for i in range(axes[0], x.rank)]
    weight = call.part("Reshape", call.inputs[1], call.constant("span", np.array(span)))
    return call.last("Mul", call.part("Div", call.x, root), weight)


def read_mean_variance_normalization(call: ReadCall) -> None:
    call.last(MeanVarianceNormalization(call.integers("axes", (0, 2, 3))), call.x)


def write_mean_variance_normalization(call: WriteCall) -> str:
    axes = [a % call.types[0].rank for a in call.op.axes]
    return call.last("MeanVarianceNormalization", call.x, axes=axes)


def read_lp_normalization(call: ReadCall) -> None:
    call.last(LpNormalization(call.integer("axis", -1), call.integer("p", 2)), call.x)


def write_lp_normalization(call: WriteCall) -> str:
    return call.last("LpNormalization", call.x, axis=call.op.axis, p=call.op.p)


def read_lrn(call: ReadCall) -> None:
    rates = [call.number(name, value) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    call.last(Lrn(call.integer("size"), *rates), call.x)


def write_lrn(call: WriteCall) -> str:
    op, (x,) = call.op, call.types
    numbers = {"size": op.size, "alpha": op.alpha, "beta": op.beta, "bias": op.bias}
    if x.rank == 4:
        return call.last("LRN", call.x, **numbers)
    # Engines take images only: the other axes as one.
    image = call.constant("image", np.array([0, int(x.shape[1]), -1, 1]))
    result = call.part("LRN", call.part("Reshape", call.x, image), **numbers)
    return call.last("Reshape", result, call.constant("shape", np.array([0, *map(int, x.shape[1:])])))


IMPORT = {
    "BatchNormalization": read_batch_norm,
    "InstanceNormalization": read_instance_norm,
    "GroupNormalization": read_group_norm,
    "LayerNormalization": read_layer_norm,
    "RMSNormalization": read_rms_norm,
    "MeanVarianceNormalization": read_mean_variance_normalization,
    "LpNormalization": read_lp_normalization,
    "LRN": read_lrn,
}
EXPORT = {
    "batch_norm": write_batch_norm,
    "instance_norm": write_instance_norm,
    "group_norm": write_group_norm,
    "layer_norm": write_layer_norm,
    "rms_norm": write_rms_norm,
    "mean_variance_normalization": write_mean_variance_normalization,
    "lp_normalization": write_lp_normalization,
    "lrn": write_lrn,
}
