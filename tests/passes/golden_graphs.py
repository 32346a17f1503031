"""A small graph for every pass, with a place that it rewrites and, where there is one, a near miss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from strategies import Builder

from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu, Sigmoid, Silu
from nbcnn.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Pow
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.layer_norm import LayerNorm
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.transpose import Transpose

CONV = Conv2d(4, (3, 3), padding=(1, 1, 1, 1))
PLAIN = Conv2d(4, (3, 3), padding=(1, 1, 1, 1), bias=False)
POINT = Conv2d(4, (1, 1))


def fold_constants(b: Builder) -> Graph:
    b.weight("one", np.ones((1, 4, 1, 1)))
    b.weight("two", np.full((1, 4, 1, 1), 2.0))
    return b.graph(b("scaled", Mul(), b.input(4, 6, 6), b("three", Add(), "one", "two")))


def remove_dead(b: Builder) -> Graph:
    x = b.input(4, 6, 6)
    b("deader", Relu(), b("dead", CONV, x))
    return b.graph(b("act", Relu(), x))


def remove_identity(b: Builder) -> Graph:
    x = b("pool", MaxPool((1, 1)), b("drop", Dropout(), b("act", Relu(), b.input(4, 6, 6))))
    return b.graph(b("last", Silu(), x), b("late", Dropout(), "x"))


def recognise_functions(b: Builder) -> Graph:
    for name, number in (("three", 3.0), ("zero", 0.0), ("six", 6.0), ("two", 2.0)):
        b.weight(name, np.full((1,), number))
    x = b.input(4, 6, 6)
    inner = b("inner", Minimum(), b("low", Maximum(), b("sum", Add(), x, "three"), "zero"), "six")
    y = b("swish", Div(), b("product", Mul(), x, inner), "six")
    gate = b("gate", Sigmoid(), y)
    return b.graph(b("square", Pow(), b("silu", Mul(), y, gate), "two"))


def sink_transposes(b: Builder) -> Graph:
    b.weight("scale", np.arange(1.0, 5.0))
    x = b("last", Transpose((0, 2, 3, 1)), b("conv", CONV, b.input(4, 6, 5)))
    x = b("scaled", Mul(), b("norm", LayerNorm((-1,)), x), "scale")
    y = b("first", Transpose((0, 3, 1, 2)), x)
    turned = b("turned", Transpose((0, 1, 3, 2)), y)
    return b.graph(b("act", Relu(), turned), turned)


def canonicalise_shapes(b: Builder) -> Graph:
    x = b("first", Reshape((0, 4, 36)), b.input(4, 6, 6))
    return b.graph(b("act", Relu(), b("second", Reshape((0, 12, 12)), x)))


def common_subexpressions(b: Builder) -> Graph:
    x = b.input(4, 6, 6)
    left = b("left", Relu(), b("conv", CONV, x))
    right = b("right", Relu(), b("twin", CONV, x, weight="conv.weight", bias="conv.bias"))
    return b.graph(b("sum", Add(), left, right))


def fuse_scale_shift(b: Builder) -> Graph:
    b.weight("factor", np.full((1, 4, 1, 1), 2.0))
    b.weight("offset", np.full((1, 4, 1, 1), 0.5))
    return b.graph(
        b("shift", Add(), b("scale", Mul(), b("conv", CONV, b.input(4, 6, 6)), "factor"), "offset")
    )


def fold_pad(b: Builder) -> Graph:
    x = b("pad", Pad((1, 1, 1, 1)), b.input(4, 6, 6))
    return b.graph(b("conv", Conv2d(4, (3, 3)), x))


def rewrite_pool(b: Builder) -> Graph:
    x = b("pool", MaxPool((2, 2), (2, 2)), b("act", Relu(), b.input(4, 8, 8)))
    y = b("blurred", MaxPool((2, 2), (2, 2)), b("soft", Silu(), x))
    return b.graph(b("flat", Flatten(), b("mean", AvgPool((2, 2), (2, 2)), y)))


def fuse_conv_bn(b: Builder) -> Graph:
    x = b("norm", BatchNorm(), b("conv", PLAIN, b.input(4, 6, 6)))
    y = b("other", PLAIN, b("act", Relu(), x))
    return b.graph(b("late", BatchNorm(), y), y)


def remove_dead_channels(b: Builder) -> Graph:
    weight = np.ones((4, 4, 1, 1)) / 4
    weight[:, 2] = 0
    b.weight("narrow", weight)
    x = b("act", Relu(), b("conv", CONV, b.input(4, 6, 6)))
    return b.graph(b("point", POINT, x, weight="narrow"))


def fuse_residual_add(b: Builder) -> Graph:
    x = b.input(4, 6, 6)
    y = b("sum", Add(), b("conv", CONV, x), x)
    gate = b("gate", Sigmoid(), b("mean", GlobalAvgPool(), y))
    y = b("gated", Add(), b("scaled", Mul(), y, gate), x)
    z = b("again", CONV, y)
    return b.graph(b("late", Add(), z, y), z)


def fuse_activation(b: Builder) -> Graph:
    x = b("act", Relu(), b("conv", CONV, b.input(4, 6, 6)))
    return b.graph(b("late", Silu(), b("other", CONV, x)), "other")


def merge_convs(b: Builder) -> Graph:
    x = b.input(4, 6, 6)
    return b.graph(b("left", POINT, x), b("right", POINT, x), b("other", CONV, x))


def spatial_avg_pool(b: Builder) -> Graph:
    x = b("pool", MaxPool((2, 2), (2, 2)), b.input(4, 8, 8))
    return b.graph(b("conv", Conv2d(4, (3, 3), (2, 2), padding=(1, 1, 1, 1)), x))


def separate_convs(b: Builder) -> Graph:
    return b.graph(b("narrow", Conv2d(1, (3, 3)), b("conv", Conv2d(16, (3, 3)), b.input(16, 6, 6))))


def prune(b: Builder) -> Graph:
    x = b("act", Relu(), b("first", CONV, b.input(3, 6, 6)))
    y = b("middle", PLAIN, b("norm", BatchNorm(), b("point", POINT, x)))
    return b.graph(b("fc", Dense(3), b("flat", Flatten(), b("mean", GlobalAvgPool(), y))))


def prune_channels(b: Builder) -> Graph:
    x = b("first", Conv2d(16, (3, 3), padding=(1, 1, 1, 1)), b.input(3, 6, 6))
    x = b("act", Relu(), b("sum", Add(), b("inner", Conv2d(16, (1, 1)), x), x))
    return b.graph(b("fc", Dense(3), b("flat", Flatten(), b("mean", GlobalAvgPool(), x))))


def sparsify(b: Builder) -> Graph:
    kept = np.repeat(b.rng.random((2, 4, 3, 3)) < 0.25, 4, axis=0)
    b.weight("blocks", b.rng.normal(size=kept.shape) * kept)
    x = b("act", Relu(), b("conv", Conv2d(8, (3, 3)), b.input(4, 6, 6), weight="blocks"))
    return b.graph(b("fc", Dense(3), b("flat", Flatten(), b("mean", GlobalAvgPool(), x))))


def swap_activation(b: Builder) -> Graph:
    x = b("act", Relu(), b("conv", CONV, b.input(4, 6, 6)))
    return b.graph(b("fc", Dense(3), b("flat", Flatten(), b("mean", GlobalAvgPool(), x))))


GRAPHS: dict[str, Callable[[Builder], Graph]] = {
    "fold-constants": fold_constants,
    "remove-dead": remove_dead,
    "remove-identity": remove_identity,
    "recognise-functions": recognise_functions,
    "sink-transposes": sink_transposes,
    "canonicalise-shapes": canonicalise_shapes,
    "common-subexpressions": common_subexpressions,
    "fuse-scale-shift": fuse_scale_shift,
    "fold-pad": fold_pad,
    "rewrite-pool": rewrite_pool,
    "fuse-conv-bn": fuse_conv_bn,
    "remove-dead-channels": remove_dead_channels,
    "fuse-residual-add": fuse_residual_add,
    "fuse-activation": fuse_activation,
    "merge-convs": merge_convs,
    "spatial-avg-pool": spatial_avg_pool,
    "separate-convs": separate_convs,
    "prune": prune,
    "prune-channels": prune_channels,
    "sparsify": sparsify,
    "swap-activation": swap_activation,
}
"""Name of a pass -> what draws its graph."""
