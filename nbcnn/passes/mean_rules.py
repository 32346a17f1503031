"""Rules of `rewrite-pool` for means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import AvgPool, GlobalAvgPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten
from nbcnn.passes import fusing
from nbcnn.passes.rules import Plan, Rule
from nbcnn.passes.windows import channels, fewer_points, points


def whole_plane(graph: Graph, pool: Node) -> Plan | str | None:
    """One window that sees every point and counts nothing else: global_avg_pool."""
    op, x = pool.op, graph.type(pool.data[0])
    if not isinstance(op, AvgPool) or op.kernel == (1, 1) or points(graph.type(pool.output)) > 1:
        return None
    if (seen := int(_real(op, graph, pool)[0, 0])) < points(x):
        return f"its one window leaves out {points(x) - seen} of {points(x)} points"
    if (counted := int(op.divisors(x)[0, 0])) > seen:
        return f"it divides by {counted}, counting padding, but the plane has {seen} points"

    def edit(rw: Rewriter) -> Iterable[str]:
        rw.replace(pool.name, GlobalAvgPool(), pool.data)
        return (pool.name,)

    return Plan("is the mean of the whole plane", edit)


def mean_of_plane(graph: Graph, mean: Node) -> Plan | None:
    """reduce_mean along height and width: global_avg_pool, flattened where the axes are dropped.

    A reshape that puts the axes back is the pool itself.
    """
    op, x = mean.op, graph.type(mean.data[0])
    if not isinstance(op, ReduceMean) or x.rank != 4 or op.along(x) != (2, 3) or "float" not in x.dtype:
        return None

    def edit(rw: Rewriter) -> Iterable[str]:
        if op.keepdims:
            rw.replace(mean.name, GlobalAvgPool(), mean.data)
            return (mean.name,)
        (pooled,) = GlobalAvgPool().infer(x)
        back = [r for r, _ in rw.graph.readers(mean.output) if r.op.name == "reshape"]
        back = [r for r in back if rw.graph.type(r.output) == pooled]
        if back:
            name = back[0].name
            rw.replace(name, GlobalAvgPool(), mean.data)
            for other in back[1:]:
                rw.redirect(other.output, back[0].output)
                rw.erase(other.name)
        else:
            name = rw.add(rw.fresh(f"{mean.name}.first"), GlobalAvgPool(), mean.data)
        rw.replace(mean.name, Flatten(), (rw.graph.node(name).output,))
        rw.erase_dead([mean.name])
        return (name,)

    return Plan("is the mean of the whole plane", edit)


def conv_behind(graph: Graph, pool: Node) -> Plan | str | None:
    """A linear 1x1 convolution and a mean swapped, so that the convolution runs on the pooled plane.

        mean over the window of (W x + b) = W (mean x) + b

    where the window's weights add up to 1, which they do not where padding is counted (without a bias that
    does not matter either). DenseNet's transitions: a quarter of the MACs. Done where the convolution's
    savings exceed what the pool adds when it runs on more channels.
    """
    found = _conv_before(graph, pool)
    if found is None or found[1].kernel != (1, 1):
        return None
    conv, op = found
    x, y, z = graph.types((conv.data[0], conv.output, pool.output))
    if op.stride != (1, 1) or any(op.pads(x)):
        return f"'{conv.name}' skips points or pads: its plane is not that of '{conv.data[0]}'"
    if why := fewer_points(graph, pool) or fusing.other_uses(graph, conv.output, pool):
        return why
    if op.bias and isinstance(pool.op, AvgPool) and (_real(pool.op, graph, pool) < pool.op.divisors(y)).any():
        return f"'{pool.name}' counts padding, which the bias of '{conv.name}' is not added to"
    window = pool.op.reduction([y])
    macs = channels(x) // op.groups * channels(y)
    pools = (channels(y) * window * points(z), channels(x) * window * points(z))
    if macs * points(z) + pools[1] >= macs * points(y) + pools[0]:
        return f"'{pool.name}' would run on {channels(x)} channels, not {channels(y)}: no work is saved"

    def edit(rw: Rewriter) -> Iterable[str]:
        first = rw.add(rw.fresh(f"{pool.name}.first"), pool.op, conv.data)
        rw.replace(pool.name, op, (first, *conv.weights))
        rw.erase(conv.name)
        return (*(node.name for node, _ in rw.graph.readers(pool.output)), first)

    return Plan(f"'{conv.name}' runs on {points(z)} points, not {points(y)}", edit)


def conv_stride(graph: Graph, pool: Node) -> Plan | str | None:
    """A convolution and a mean as one convolution with the pool's stride and a wider kernel.

        mean over a < k of conv(x; w, b)[t*i + a] = conv(x; w', b)[i]    at stride s*t
        with w'[u] = 1/k * sum over a of w[u - s*a]

    per axis: kernel K + s*(k - 1), the same padding. Every window must be whole. The wide kernel costs
    (K + s*(k - 1))^2 / t^2 products a point of the plane between the two, the convolution alone K^2: for
    k = t = 2 it pays from K = 5 on (9 instead of 25) and for K = 3 at stride 2 (6 instead of 9). For K = 3 at
    stride 1 it does not: Winograd's algorithms make do with 4 products or fewer, the wide kernel's 4 have to
    be done. For K = 1 `conv_behind` does better. Depthwise layers are bound by memory.
    A pruned weight is left alone, for zeros would be filled in.
    """
    found = _conv_before(graph, pool)
    if found is None or not isinstance(pool.op, AvgPool) or found[1].kernel == (1, 1):
        return None
    conv, op = found
    y, z = graph.types((conv.output, pool.output))
    if fewer_points(graph, pool):
        return None
    if uses := fusing.other_uses(graph, conv.output, pool):
        return uses
    if op.dilation != (1, 1):
        return f"'{conv.name}' is dilated: one kernel for both would be mostly zeros"
    window = pool.op.kernel[0] * pool.op.kernel[1]
    if any(pool.op.pads(y)) or (_real(pool.op, graph, pool) < window).any():
        return f"'{pool.name}' has windows that hang over the plane"
    kernel = tuple(k + s * (p - 1) for k, s, p in zip(op.kernel, op.stride, pool.op.kernel, strict=True))
    size_in = channels(graph.type(conv.data[0])) // op.groups
    if size_in == 1:
        return f"'{conv.name}' takes one channel a filter: it is bound by memory, not by products"
    if op.kernel == (3, 3) and op.stride == (1, 1) and op.groups == 1:
        return f"'{conv.name}' (3x3, stride 1) has a fast algorithm, the wide kernel has none"
    merged = size_in * kernel[0] * kernel[1] * points(z)
    if merged >= size_in * op.kernel[0] * op.kernel[1] * points(y) + window * points(z):
        return f"one {kernel[0]}x{kernel[1]} convolution with '{conv.name}' would do more work than both"
    weight = graph.weight(conv.weights[0])
    if weight.mask is not None or weight.sparsity:
        return f"'{conv.weights[0]}' is pruned: its zeros would be filled in"
    wide = replace(
        op,
        kernel=(kernel[0], kernel[1]),
        stride=(op.stride[0] * pool.op.stride[0], op.stride[1] * pool.op.stride[1]),
        padding=op.pads(graph.type(conv.data[0])),
    )

    def edit(rw: Rewriter) -> Iterable[str]:
        array = _spread(weight.array, op.stride, pool.op.kernel)  # type: ignore[union-attr]
        name = rw.add_weight(f"{pool.name}.spread_weight", array, trainable=weight.trainable)
        rw.replace(pool.name, wide, (conv.data[0], name, *conv.weights[1:]))
        rw.erase_dead([conv.name])
        return ()

    return Plan(f"one {kernel[0]}x{kernel[1]} convolution with '{conv.name}'", edit)


def _spread(weight: np.ndarray, stride: tuple[int, int], window: tuple[int, int]) -> np.ndarray:
    """The mean over ``window`` shifts of ``weight`` by ``stride``, computed in float64.

    The window is its own mirror image, so ``flip`` does not matter.
    """
    *outer, kh, kw = weight.shape
    size = (kh + stride[0] * (window[0] - 1), kw + stride[1] * (window[1] - 1))
    total = np.zeros((*outer, *size))
    for a in range(window[0]):
        for b in range(window[1]):
            i, j = a * stride[0], b * stride[1]
            total[..., i : i + kh, j : j + kw] += weight
    return (total / (window[0] * window[1])).astype(weight.dtype)


def _conv_before(graph: Graph, pool: Node) -> tuple[Node, Conv2d] | None:
    """The convolution whose value ``pool``, a mean, reads."""
    if not isinstance(pool.op, AvgPool | GlobalAvgPool):
        return None
    conv = graph.producer(pool.data[0])
    return (conv, conv.op) if conv is not None and isinstance(conv.op, Conv2d) else None


def _real(op: AvgPool, graph: Graph, pool: Node) -> np.ndarray:
    """How many points of the plane, not of its padding, each window sees."""
    return replace(op, count_include_pad=False).divisors(graph.type(pool.data[0]))


RULES: tuple[Rule, ...] = (whole_plane, mean_of_plane, conv_behind, conv_stride)
