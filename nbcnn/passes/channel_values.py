"""Channels that are known to be one number everywhere, whatever the input: NaN stands for all others.

A filter of zeros makes its bias. From there on

    activation f         f(c)
    batch norm           scale * c + shift
    depthwise            bias where c or the filter is zero; c * (sum of the filter) + bias without padding
    pool, mean           c; of means that count padding only 0
    pad                  c if that is what it pads with, or if it repeats elements
    add, mul, ...        the function of both numbers; of a product 0 if one is
    concat, split, reshape, dropout   as they order channels

Numbers are computed in float64.
"""

from __future__ import annotations

import numpy as np

from nbcnn.ir import Graph, Node
from nbcnn.ops.activation import Activation
from nbcnn.ops.arithmetic import Binary, Mul
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.cast import Identity
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv import Conv
from nbcnn.ops.conv_transpose import ConvTranspose
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.split import Split
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze
from nbcnn.passes.affine import of_norm
from nbcnn.passes.channel_groups import Channels

_SAME = (MaxPool, GlobalAvgPool, GlobalMaxPool, ReduceMean, Dropout, Identity)


def constants(graph: Graph, channels: Channels) -> dict[str, np.ndarray]:
    """A float64 for each channel of every value that ``channels`` has units for."""
    found = {v: np.full(len(units), np.nan) for v, units in channels.units.items()}
    for node in graph.nodes:
        if node.name not in channels.along:
            continue  # an operator that mixes channels
        with np.errstate(all="ignore"):
            if isinstance(node.op, Split):
                _parts(graph, node, node.op, found)
            elif (made := _constant(graph, node, found)) is not None:
                made[np.isinf(made)] = np.nan
                found[node.output] = made
    return found


def _parts(graph: Graph, node: Node, op: Split, found: dict[str, np.ndarray]) -> None:
    x = found[node.data[0]]
    along = op.axis % graph.type(node.data[0]).rank == 1
    ends = np.cumsum(op.sizes)
    for value, size, end in zip(node.outputs, op.sizes, ends, strict=True):
        found[value] = x[end - size : end] if along else x


def _constant(graph: Graph, node: Node, found: dict[str, np.ndarray]) -> np.ndarray | None:
    op = node.op
    if "float" not in graph.type(node.output).dtype:
        return None  # what follows computes in floats
    if isinstance(op, Binary):
        return _both(graph, node, op, found)
    x = found[node.data[0]]
    if isinstance(op, Conv | ConvTranspose | Dense):
        return _of_filters(graph, node, x)
    if isinstance(op, BatchNorm):
        norm = of_norm(graph, node)
        return np.where(norm.scale == 0, norm.shift, norm.scale * x + norm.shift)
    if isinstance(op, Activation):
        return np.where(np.isnan(x), np.nan, op.reference(x)[0])  # a threshold makes 0 of NaN
    if isinstance(op, Pad):
        whole = op.nothing or op.mode != "constant"
        return x.copy() if whole else np.where(x == op.value, x, np.nan)
    if isinstance(op, AvgPool):
        counted = op.count_include_pad and any(op.pads(graph.type(node.data[0])))
        return np.where(x == 0, x, np.nan) if counted else x.copy()
    if isinstance(op, _SAME):
        return x.copy()
    if isinstance(op, Concat):
        whole = op.axis % graph.type(node.output).rank == 1
        return np.concatenate([found[v] for v in node.data]) if whole else None
    if isinstance(op, Flatten | Reshape | Squeeze | Unsqueeze):
        count = len(found[node.output])
        return np.repeat(x, count // len(x)) if 0 < len(x) <= count else None
    return None


def _of_filters(graph: Graph, node: Node, x: np.ndarray) -> np.ndarray | None:
    """What filters of zeros make, and depthwise ones of what they read."""
    op, weight = node.op, graph.weight(node.weights[0]).array
    groups, padded = getattr(op, "groups", 1), False
    if isinstance(op, ConvTranspose):
        if groups > 1:
            return None
        weight = weight.swapaxes(0, 1)
    elif isinstance(op, Conv):
        padded = any(op.pads(graph.type(node.data[0])))
    rows = weight.reshape(len(weight), -1)
    bias = graph.weight(node.weights[1]).array.astype(float) if len(node.weights) > 1 else np.zeros(len(rows))
    made = np.where((rows == 0).all(axis=1), bias, np.nan)
    if 1 < groups == len(x):
        read = np.repeat(x, len(rows) // groups)
        sums = read * rows.sum(axis=1, dtype=float) + bias
        made = np.where(np.isnan(made) & ((read == 0) | (not padded)), sums, made)
    return made


def _both(graph: Graph, node: Node, op: Binary, found: dict[str, np.ndarray]) -> np.ndarray | None:
    count = len(found[node.output])
    operands = []
    for value in node.inputs:
        own = found.get(value)
        if own is None:  # a weight: of use where it is one number for each channel, or for all
            array = graph.weight(value).array.astype(float)
            rank = graph.type(node.output).rank
            shape = (1,) * (rank - array.ndim) + array.shape
            if array.size not in (1, count) or shape[1] != array.size:
                return None
            own = array.reshape(-1)
        operands.append(np.broadcast_to(own, (count,)))
    a, b = operands
    made = np.array(op.reference(a, b)[0], float)
    made[np.isnan(a) | np.isnan(b)] = np.nan
    if isinstance(op, Mul):
        made[(a == 0) | (b == 0)] = 0.0
    return made
