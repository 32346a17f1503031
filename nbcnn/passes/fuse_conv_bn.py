"""Fold a batch normalisation into the convolution or dense layer before it.

    y = g * (conv(x; w, b) - m) / sqrt(v + eps) + t   with g, t, m, v per output channel
      = conv(x; s*w, s*(b - m) + t)                    with s = g / sqrt(v + eps)

Scaling an output channel commutes with everything a convolution does to its inputs, so stride,
padding, dilation, groups and ``flip`` do not matter; a masked weight stays zero where it was. The new
weights are computed in float64 and rounded once. The node that remains bears the batch_norm's
name, because its value is the batch_norm's. A weight that other nodes share is left as it is:
this node gets its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.passes.base import REASSOCIATES, Pass
from nbcnn.passes.fusing import other_uses


@dataclass(frozen=True)
class FuseConvBn(Pass):
    """conv2d or dense, then batch_norm: one conv2d or dense with a bias."""

    name: ClassVar[str] = "fuse-conv-bn"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        for node in rw.graph.nodes:
            if not isinstance(node.op, BatchNorm):
                continue
            linear = rw.graph.producer(node.data[0])
            if linear is None or not isinstance(linear.op, Conv2d | Dense):
                continue
            if uses := other_uses(rw.graph, linear.output, node):
                rw.refuse(node.name, uses)
                continue
            weight, bias = _folded(rw.graph, linear, node)
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                rw.refuse(node.name, f"the weights of '{linear.name}' would overflow or hold NaN")
                continue
            if not rw.begin(node.name, f"folded into '{linear.name}'"):
                return
            _fold(rw, linear, node, weight, bias)


def _slots(graph: Graph, node: Node) -> dict[str, str]:
    """Names of a node's weights by slot."""
    return dict(zip(node.op.params(*graph.types(node.data)), node.weights, strict=True))


def _folded(graph: Graph, linear: Node, norm: Node) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias of the one layer that does the work of both."""
    assert isinstance(norm.op, BatchNorm)
    own = {slot: graph.weight(name).array for slot, name in _slots(graph, linear).items()}
    stats = {slot: graph.weight(name).array.astype(np.float64) for slot, name in _slots(graph, norm).items()}
    old = own["weight"]
    weight = np.empty_like(old)
    with np.errstate(all="ignore"):  # the caller refuses what is not finite
        scale = stats["weight"] / np.sqrt(stats["running_var"] + norm.op.epsilon)
        shift = stats["bias"] + (own.get("bias", 0.0) - stats["running_mean"]) * scale
        # NumPy multiplies in float64 and rounds block by block: no float64 copy of the weight is made.
        np.multiply(old, scale.reshape(-1, *(1,) * (old.ndim - 1)), out=weight, casting="same_kind")
        bias = shift.astype(old.dtype)
    for array in (weight, bias):
        array.flags.writeable = False  # so that the graph takes them without a copy
    return weight, bias


def _fold(rw: Rewriter, linear: Node, norm: Node, weight: np.ndarray, bias: np.ndarray) -> None:
    old = rw.graph.weight(_slots(rw.graph, linear)["weight"])
    trainable = any(rw.graph.weight(w).trainable for w in (*linear.weights, *norm.weights))
    new_weight = rw.add_weight(f"{norm.name}.folded_weight", weight, trainable=old.trainable, mask=old.mask)
    new_bias = rw.add_weight(f"{norm.name}.folded_bias", bias, trainable=trainable)
    assert isinstance(linear.op, Conv2d | Dense)
    rw.replace(norm.name, replace(linear.op, bias=True), (*linear.data, new_weight, new_bias))
    rw.erase_dead([linear.name, *norm.weights])
