"""Rules of `rewrite-pool` for maxima."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nbcnn.ir import Graph, Node, Op, Rewriter
from nbcnn.ops.activation import Activation, Elu, HardSigmoid, LeakyRelu
from nbcnn.ops.piecewise import ThresholdedRelu
from nbcnn.ops.pool import GlobalMaxPool, MaxPool
from nbcnn.ops.smooth import Celu, Selu
from nbcnn.passes import fusing
from nbcnn.passes.fuse_activation import CARRIERS
from nbcnn.passes.rules import Plan, Rule
from nbcnn.passes.windows import fewer_points, in_two, points


def whole_plane(graph: Graph, pool: Node) -> Plan | None:
    """One window that sees every point (padding is minus infinity and does not matter): global_max_pool."""
    op, x = pool.op, graph.type(pool.data[0])
    if not isinstance(op, MaxPool) or op.kernel == (1, 1) or points(graph.type(pool.output)) > 1:
        return None
    top, left, _, _ = op.pads(x)
    for n, before, k, d in zip(x.shape[2:], (top, left), op.kernel, op.dilation, strict=True):
        if not set(range(int(n))) <= {u * d - before for u in range(k)}:
            return None

    def edit(rw: Rewriter) -> Iterable[str]:
        rw.replace(pool.name, GlobalMaxPool(), pool.data)
        return (pool.name,)

    return Plan("is the maximum of the whole plane", edit)


def activation_behind(graph: Graph, pool: Node) -> Plan | str | None:
    """max f(x) = f(max x) for a non-decreasing f: f runs on the points that the pool leaves.

    Only where f would be a step of its own. One that `fuse-activation` computes with the node before
    it costs no memory traffic at all; behind the pool it would read and write a plane.
    """
    act = graph.producer(pool.data[0])
    if not isinstance(pool.op, MaxPool | GlobalMaxPool) or act is None or not fusing.is_activation(act):
        return None
    if not non_decreasing(act.op):
        return f"'{act.name}' ({act.op.name}) is not non-decreasing, so a maximum must see its results"
    if why := fewer_points(graph, pool) or fusing.other_uses(graph, act.output, pool):
        return why
    maker = graph.producer(act.data[0])
    last = fusing.parts(maker)[-1] if maker else None
    if maker and last and last.op.name in CARRIERS and not fusing.obstacle(graph, maker, act):
        return f"'{maker.name}' computes '{act.name}' in passing; behind the pool it would be a step more"

    def edit(rw: Rewriter) -> Iterable[str]:
        made = in_two(rw, pool, pool.op, act.op, act.data[0])
        rw.erase(act.name)
        return (*(node.name for node, _ in rw.graph.readers(pool.output)), *made)

    before, after = points(graph.type(pool.data[0])), points(graph.type(pool.output))
    return Plan(f"'{act.name}' runs on {after} points, not {before}", edit)


def non_decreasing(op: Op) -> bool:
    """Whether x <= y implies op(x) <= op(y); false when it is not known."""
    match op:
        case LeakyRelu(alpha=alpha) | Elu(alpha=alpha) | HardSigmoid(alpha=alpha):
            return alpha >= 0
        case Celu(alpha=alpha) | ThresholdedRelu(alpha=alpha):
            return alpha >= 0
        case Selu(alpha=alpha, gamma=gamma):
            return alpha >= 0 and gamma >= 0
    return isinstance(op, Activation) and op.name in _NON_DECREASING


_NON_DECREASING = frozenset(
    {
        *("relu", "relu6", "clip", "sigmoid", "tanh", "softplus", "softsign", "exp", "erf"),
        *("floor", "ceil", "round", "sign", "atan", "sinh", "asinh"),
    }
)


def cascade(graph: Graph, pool: Node) -> Plan | str | None:
    """Two maxima in a row, the first of stride 1: one of k1 + k2 - 1, whose paddings add up (SPP).

    The first pool yields no point outside its own plane where the second one pads; the merged
    window does see the elements of x that those points would have covered. They are elements that the
    first point inside covers too, so no maximum changes.

    Only where both have an extent along one axis: 1xk, then kx1 is what `separate` makes of kxk.
    """
    first = graph.producer(pool.data[0])
    if not isinstance(pool.op, MaxPool) or first is None or not isinstance(first.op, MaxPool):
        return None
    one, two, x = first.op, pool.op, graph.type(first.data[0])
    if not any(a > 1 and b > 1 for a, b in zip(one.kernel, two.kernel, strict=True)):
        return None
    if one.stride != (1, 1):
        return f"'{first.name}' skips points: its stride is {one.stride[0]}x{one.stride[1]}"
    if one.dilation != (1, 1) or two.dilation != (1, 1):
        return f"'{first.name}' and '{pool.name}' would leave gaps in one window: they are dilated"
    if uses := fusing.other_uses(graph, first.output, pool):
        return uses
    kh, kw = (a + b - 1 for a, b in zip(one.kernel, two.kernel, strict=True))
    pads = zip(one.pads(x), two.pads(graph.type(first.output)), strict=True)
    top, left, bottom, right = (a + b for a, b in pads)
    merged = replace(two, kernel=(kh, kw), padding=(top, left, bottom, right))
    if merged.infer(x) != (graph.type(pool.output),):
        return f"ceil_mode counts windows by the plane that '{first.name}' makes"

    def edit(rw: Rewriter) -> Iterable[str]:
        rw.replace(pool.name, merged, first.data)
        rw.erase(first.name)
        return (*(node.name for node, _ in rw.graph.readers(pool.output)), pool.name)

    return Plan(f"'{first.name}' and this are one maximum of {kh}x{kw}", edit)


RULES: tuple[Rule, ...] = (whole_plane, activation_behind, cascade)
