"""What the pooling rules share: how many points a pool leaves, and one window as two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nbcnn.errors import ShapeError
from nbcnn.ir import Graph, Node, Op, Rewriter, TensorType
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes.rules import Plan


def points(type_: TensorType) -> int:
    """Points of a plane of ``type_`` [N, C, H, W]."""
    return int(type_.shape[2]) * int(type_.shape[3])


def channels(type_: TensorType) -> int:
    return int(type_.shape[1])


def fewer_points(graph: Graph, pool: Node) -> str | None:
    """Why nothing in front of ``pool`` gains from running behind it, or None."""
    before, after = points(graph.type(pool.data[0])), points(graph.type(pool.output))
    return None if after < before else f"'{pool.name}' leaves {after} points of {before}"


def in_two(rw: Rewriter, pool: Node, first: Op, then: Op, source: str) -> Iterable[str]:
    """Make ``pool`` a chain of two nodes that reads ``source``; weights stay with ``then``."""
    name = rw.add(rw.fresh(f"{pool.name}.first"), first, (source,))
    rw.replace(pool.name, then, (name,))
    return (pool.name, name)


def separate(graph: Graph, pool: Node) -> Plan | str | None:
    """kh x kw windows: 1 x kw along the rows, then kh x 1 along the columns.

        max over (u, v) of x[i+u, j+v] = max over u of (max over v of x[i+u, j+v])

    A mean likewise, because the number of points that a window counts is the product of its rows and its
    columns: mean = 1/rows * sum over u of (1/columns * sum over v). Padding, dilation, stride and ceil_mode
    belong to one axis each.

    kh + kw points are looked at instead of kh*kw, but of more windows where the stride is above 1, and the
    rows' results are written and read again, at the price of two vectors each way. Stride 1: from 4x4 on.
    """
    op = pool.op
    if not isinstance(op, MaxPool | AvgPool) or min(op.kernel) == 1:
        return None
    x, y = graph.type(pool.data[0]), graph.type(pool.output)
    (kh, kw), rows, wide = op.kernel, int(x.shape[2]) * int(y.shape[3]), points(y)
    if rows * kw + wide * kh + 4 * rows >= wide * kh * kw:
        return None
    top, left, bottom, right = op.pads(x)
    first = replace(op, kernel=(1, kw), stride=(1, op.stride[1]), padding=(0, left, 0, right))
    then = replace(op, kernel=(kh, 1), stride=(op.stride[0], 1), padding=(top, 0, bottom, 0))
    if isinstance(op, MaxPool) and isinstance(first, MaxPool) and isinstance(then, MaxPool):
        first = replace(first, dilation=(1, op.dilation[1]))
        then = replace(then, dilation=(op.dilation[0], 1))
    try:
        then.infer(*first.infer(x))
    except ShapeError as error:
        return f"cannot be separated: {error}"
    return Plan(
        f"along the rows, then along the columns: {kh + kw} points a window, not {kh * kw}",
        lambda rw: in_two(rw, pool, first, then, pool.data[0]),
    )
