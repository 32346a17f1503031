"""Compute an activation together with the node before it, while its values are in registers.

    f(op(x)): the same values, one node fewer that reads and writes memory

for ``op`` a convolution, dense layer, batch norm that was not folded away, arithmetic on two values, or a
fused node of these that does not end in an activation already. Refused when anything else needs the value
before the activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Rewriter
from nbcnn.ops.conv import CONVS
from nbcnn.ops.conv_transpose import TRANSPOSED
from nbcnn.passes import fusing
from nbcnn.passes.base import EXACT, Pass

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "minimum", "maximum", "prelu"})
CARRIERS = ARITHMETIC | {*CONVS, *TRANSPOSED, "dense", "batch_norm", "instance_norm", "group_norm"}


@dataclass(frozen=True)
class FuseActivation(Pass):
    """A convolution, dense, batch_norm, arithmetic or fused, then an activation: one fused node."""

    name: ClassVar[str] = "fuse-activation"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for node in rw.graph.nodes:
            if not fusing.is_activation(node):
                continue
            producer = rw.graph.producer(node.data[0])
            if producer is None:
                continue
            last = fusing.parts(producer)[-1]
            if fusing.is_activation(last) and last is not producer:
                rw.refuse(node.name, f"'{producer.name}' ends in an activation already")
            elif last.op.name in CARRIERS:
                if why := fusing.obstacle(rw.graph, producer, node):
                    rw.refuse(node.name, why)
                elif rw.begin(node.name, f"fused with '{producer.name}'"):
                    fusing.merge(rw, producer, node)
                else:
                    return
