"""Replace max pools and strided convolutions by spatial average pooling.

A max pool becomes the average pool of the same windows: smooth and linear, but not the same numbers.

A convolution of stride s becomes an s x s average pool and a convolution of stride 1 on the plane that
remains, with a kernel that is exact wherever the input does not vary within the cells of that pool:

    y[i] = sum over u of w[u] * x[i*s + u - p]                        per axis, p: the padding before
    x[i*s + r] = z[i + floor(r / s)]                                  z: the mean of each cell
    y[i] = sum over m of w'[m] * z[i + m],   w'[m] = sum of those w[u] with floor((u - p) / s) = m

A 3x3 kernel of stride 2 becomes 2x2, four ninths of the multiply-accumulates; 7x7 becomes 4x4; 1x1 stays 1x1
and averages what it used to skip (ResNet-D's shortcut). What varies within a cell is lost: fine-tune, and
let ``--verify`` tell the difference of the outputs. A cell that hangs over the end of the plane averages
what there is of it.

Fused nodes are left alone: it goes before the fusing passes. Refused are dilated convolutions, and
max pools that tell where their maxima stand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.ir import Node, Rewriter, TensorType, Weight
from nbcnn.ops import window
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes import prune_patterns
from nbcnn.passes.base import Lossy, Pass
from nbcnn.passes.choose import EVERY, chosen


@dataclass(frozen=True)
class SpatialAvgPool(Pass):
    """max_pool: avg_pool; conv2d of stride s: avg_pool s x s, then conv2d of stride 1."""

    name: ClassVar[str] = "spatial-avg-pool"
    contract: ClassVar = Lossy(metric="output_error", bound=math.inf)

    nodes: tuple[str, ...] = EVERY

    def run(self, rw: Rewriter) -> None:
        for node in chosen(rw, self.nodes):
            op = node.op
            if isinstance(op, MaxPool):
                going = _max_pool(rw, node, op)
            elif isinstance(op, Conv2d) and op.stride != (1, 1):
                going = _conv(rw, node, op)
            else:
                continue
            if not going:
                return


def _max_pool(rw: Rewriter, node: Node, op: MaxPool) -> bool:
    """Whether to go on: False once the limit on rewrites is reached."""
    if op.indices:
        rw.refuse(node.name, "it tells where its maxima stand")
        return True
    if not rw.begin(node.name, f"max_pool {_by(op.kernel)} to avg_pool"):
        return False
    rw.replace(
        node.name, AvgPool(op.kernel, op.stride, op.padding, op.ceil_mode, dilation=op.dilation), node.inputs
    )
    return True


def _conv(rw: Rewriter, node: Node, op: Conv2d) -> bool:
    """Whether to go on: False once the limit on rewrites is reached."""
    found = _pooled(rw.graph.type(node.data[0]), op)
    if isinstance(found, str) or not rw.graph.is_weight(node.weights[0]):
        rw.refuse(node.name, found if isinstance(found, str) else f"'{node.weights[0]}' is computed")
        return True
    pool, conv = found
    what = f"stride {_by(op.stride)} to avg_pool, kernel {_by(op.kernel)} to {_by(conv.kernel)}"
    if not rw.begin(node.name, what):
        return False
    old = rw.graph.weight(node.weights[0])
    weight, mask = _folded(old, op, conv.kernel, rw.graph.type(node.data[0]))
    name = f"{node.name}.pooled_weight"
    mark = prune_patterns.renewed(weight, old, groups=op.groups)
    fresh = rw.add_weight(name, weight, trainable=old.trainable, mask=mask, sparsity=mark)
    cells = rw.add(rw.fresh(f"{node.name}.pool"), pool, node.data)
    rw.replace(node.name, conv, (cells, fresh, *node.weights[1:]))
    rw.erase_dead(node.weights[:1])
    return True


def _pooled(x: TensorType, op: Conv2d) -> tuple[AvgPool, Conv2d] | str:
    """The pool and the convolution that do the work of ``op``, or why there are none."""
    if op.dilation != (1, 1):
        return f"is dilated by {_by(op.dilation)}"
    size = x.extents()[2:]
    if any(n < s for n, s in zip(size, op.stride, strict=True)):
        return f"cells of {_by(op.stride)} are larger than the plane, {size[0]}x{size[1]}"
    rows, columns = map(_cells, op.kernel, op.stride, op.pads(x)[:2])
    for ceil in (True, False):  # a last cell that hangs over, where the windows reach it
        pool = AvgPool(op.stride, ceil_mode=ceil)
        bottom, right = (
            wanted + int(cells[-1]) - got
            for wanted, cells, got in zip(
                op.infer(x)[0].extents()[2:], (rows, columns), pool.infer(x)[0].extents()[2:], strict=True
            )
        )
        if min(bottom, right) >= 0:
            break
    kernel = (int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
    padding = (-int(rows[0]), -int(columns[0]), bottom, right)
    return pool, replace(op, kernel=kernel, stride=(1, 1), padding=padding, flip=False)


def _cells(kernel: int, stride: int, before: int) -> np.ndarray:
    """The cell that each tap falls in, relative to the output's own."""
    return (np.arange(kernel) - before) // stride


def _folded(
    old: Weight, op: Conv2d, kernel: window.Pair, x: TensorType
) -> tuple[np.ndarray, np.ndarray | None]:
    """The taps of each cell added up, in float64 and rounded once; a sum of masked taps is masked."""

    def fold(array: np.ndarray) -> np.ndarray:
        array = array[:, :, ::-1, ::-1] if op.flip else array
        rows, columns = (
            np.equal.outer(np.arange(size) + cells[0], cells).astype(np.float64)
            for size, cells in (
                (size, _cells(k, s, p))
                for size, k, s, p in zip(kernel, op.kernel, op.stride, op.pads(x)[:2], strict=True)
            )
        )
        return rows @ array.astype(np.float64) @ columns.T

    mask = None if old.mask is None else fold(old.mask) > 0
    return fold(old.array).astype(old.array.dtype), mask


def _by(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))
