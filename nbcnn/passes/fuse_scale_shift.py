"""Fold multiplications by constants, additions of them and the like into the layer before or behind.

    conv(x; w, b) * s + t = conv(x; s*w, s*b + t)
    conv(x * s + t; w, b) = conv(x; w*s, b + sum w*t)   the shift only where nothing is padded

x - t, t - x, x / s and -x are such sums and products too. It is done for constants that are one number, or
one for each channel; the layer may be a convolution, a transposed one, dense, or a batch_norm (which
`fuse-conv-bn` then folds on). A chain folds link by link: those behind a layer from the front, those before
one from the back. `nbcnn.passes.affine` has the algebra. Refused where others read the value in between, and
where a constant varies within a plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops import check
from nbcnn.ops.conv import CONVS
from nbcnn.ops.conv_transpose import TRANSPOSED
from nbcnn.passes import affine
from nbcnn.passes.affine import Affine
from nbcnn.passes.base import REASSOCIATES, Pass


@dataclass(frozen=True)
class FuseScaleShift(Pass):
    """Arithmetic with a constant per channel beside a convolution, dense, batch_norm: the layer alone."""

    name: ClassVar[str] = "fuse-scale-shift"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        affine.fold(rw, _KIND)


def _operand(graph: Graph, node: Node) -> str | None:
    """The one operand, where the others are constants, that the node is linear in."""
    if node.op.name not in _LINEAR or check.kind(graph.type(node.output)) != "f":
        return None
    computed = [v for v in node.inputs if not graph.is_weight(v)]
    if len(computed) != 1 or (node.op.name == "div" and graph.is_weight(node.inputs[0])):
        return None
    return computed[0]


def _read(graph: Graph, node: Node) -> Affine | str:
    type_ = graph.type(node.output)
    if node.op.name == "neg":
        minus = np.full(int(type_.shape[1]), -1.0)
        return Affine(minus, np.zeros_like(minus))
    (constant,) = (v for v in node.inputs if graph.is_weight(v))
    array = graph.weight(constant).array.astype(np.float64)
    shape = (1,) * (type_.rank - array.ndim) + array.shape
    if graph.type(_operand(graph, node) or "") != type_:
        return f"'{constant}' makes the value larger"
    if any(n != 1 for axis, n in enumerate(shape) if axis != 1):
        return f"'{constant}' {list(array.shape)} is not one number for each channel"
    vector = np.broadcast_to(array.reshape(-1), (int(type_.shape[1]),))
    ones, zeros = np.ones_like(vector), np.zeros_like(vector)
    if node.op.name == "sub":
        return Affine(-ones, vector) if node.inputs[0] == constant else Affine(ones, -vector)
    if node.op.name == "add":
        return Affine(ones, vector)
    with np.errstate(all="ignore"):  # what is not finite is refused later
        return Affine(vector if node.op.name == "mul" else 1 / vector, zeros)


_LINEAR = frozenset({"add", "sub", "mul", "div", "neg"})
_KIND = affine.Kind(_operand, _read, frozenset({*CONVS, *TRANSPOSED, "dense", "batch_norm"}))
