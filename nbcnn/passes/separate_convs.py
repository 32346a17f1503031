"""Replace a convolution by a depthwise and a pointwise one that come closest to its weights.

    W[o, c, t]  ~  sum over j < rank of  A[o, c, j] * B[c, j, t]        t: the taps, kh * kw of them

    y = pointwise(depthwise(x; B); A, b): rank * C maps, each channel filtered ``rank`` times, then mixed

For each input channel c, W[:, c, :] is a matrix of out-channels by taps. Its singular value decomposition
cut after ``rank`` terms is the closest one of that rank (Eckart, Young), and because the squared error is a
sum over input channels, these together are the closest of all separable convolutions. What is reported is

    |W - W'| / |W|  (Frobenius):  0 for weights that separate exactly, at most 1

and a node above ``max_error`` is refused. A trained convolution is far from separable (those of digits err by
0.83 to 0.88 at rank 1, by 0.45 to 0.59 at rank 4): count on fine-tuning afterwards. Stride, padding, dilation
and ``flip`` stay with the depthwise part, the bias with the pointwise one. A point of the output costs
rank * C * (kh * kw + O) multiply-accumulates in place of C * kh * kw * O; what would not save any is refused,
as are grouped convolutions and pruned ones, whose zeros would be filled in.

Fused nodes are left alone: it goes before `fuse-activation`, and behind `fuse-conv-bn` if the batch norm is
to weigh in what counts as close.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.errors import PassError
from nbcnn.ir import Node, Rewriter
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes.base import Lossy, Pass
from nbcnn.passes.choose import EVERY, chosen


@dataclass(frozen=True)
class SeparateConvs(Pass):
    """conv2d k x k: a depthwise k x k and a 1x1 conv2d by singular value decomposition."""

    name: ClassVar[str] = "separate-convs"
    contract: ClassVar = Lossy(metric="output_error", bound=math.inf)

    nodes: tuple[str, ...] = EVERY
    rank: int = 1
    max_error: float = 1.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise PassError(f"pass '{self.name}', option 'rank': must be at least 1, got {self.rank}")
        if not 0 <= self.max_error <= 1:
            raise PassError(
                f"pass '{self.name}', option 'max_error': must be from 0 to 1, got {self.max_error}"
            )

    def run(self, rw: Rewriter) -> None:
        for node in chosen(rw, self.nodes):
            if not isinstance(node.op, Conv2d) or node.op.kernel == (1, 1):
                continue
            if why := self._obstacle(rw, node.op, node):
                rw.refuse(node.name, why)
                continue
            old = rw.graph.weight(node.weights[0])
            depthwise, pointwise, error = separated(old.array, self.rank)
            if error > self.max_error:
                rw.refuse(node.name, f"the error of its weights, {error:.3g}, is above {self.max_error:g}")
                continue
            if not rw.begin(node.name, f"separated at rank {self.rank}, error of the weights {error:.3g}"):
                return
            _separate(rw, node, node.op, depthwise, pointwise)

    def _obstacle(self, rw: Rewriter, op: Conv2d, node: Node) -> str | None:
        weight = node.weights[0]
        if not rw.graph.is_weight(weight):
            return f"'{weight}' is computed"
        if op.groups > 1:
            return f"has {op.groups} groups"
        if rw.graph.weight(weight).mask is not None:
            return f"'{weight}' is pruned: its zeros would be filled in"
        if not np.isfinite(rw.graph.weight(weight).array).all():
            return f"'{weight}' is not finite everywhere"
        taps = op.kernel[0] * op.kernel[1]
        if self.rank * (taps + op.channels) >= taps * op.channels:
            return f"{op.channels} channels of {taps} taps cost no more than separated at rank {self.rank}"
        return None


def separated(weight: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The weights [C * rank, 1, KH, KW] and [O, C * rank, 1, 1], and the relative error of their product.

    Computed in float64 and rounded once. The two share the singular value evenly, and the largest tap of
    each filter is positive, so that the result does not hang on the signs a LAPACK prefers.
    """
    out, inside, *kernel = weight.shape
    matrices = weight.astype(np.float64).reshape(out, inside, -1).transpose(1, 0, 2)
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    u, s, vt = u[..., :rank], s[:, :rank], vt[:, :rank]
    peak = np.take_along_axis(vt, abs(vt).argmax(-1)[..., None], -1)
    scale = np.where(peak < 0, -1, 1) * np.sqrt(s)[..., None]  # [C, rank, 1]
    left, right = u * scale.transpose(0, 2, 1), vt * scale
    size = np.linalg.norm(matrices)
    error = float(np.linalg.norm(matrices - left @ right) / size) if size else 0.0
    maps = right.shape[1] * inside
    depthwise = right.reshape(maps, 1, *kernel).astype(weight.dtype)
    pointwise = left.transpose(1, 0, 2).reshape(out, maps, 1, 1).astype(weight.dtype)
    return depthwise, pointwise, error


def _separate(rw: Rewriter, node: Node, op: Conv2d, depthwise: np.ndarray, pointwise: np.ndarray) -> None:
    old = rw.graph.weight(node.weights[0])
    filters = replace(op, channels=len(depthwise), groups=int(old.type.shape[1]), bias=False)
    mix = Conv2d(op.channels, (1, 1), bias=op.bias)
    name = rw.fresh(f"{node.name}.depthwise")
    first = rw.add_weight(f"{name}.weight", depthwise, trainable=old.trainable)
    second = rw.add_weight(f"{node.name}.pointwise_weight", pointwise, trainable=old.trainable)
    maps = rw.add(name, filters, (*node.data, first))
    rw.replace(node.name, mix, (maps, second, *node.weights[1:]))
    rw.erase_dead(node.weights[:1])
