"""Mark weights that are mostly zeros, and say in which pattern the zeros lie.

    zeros(w) / size(w) >= threshold:   w.sparsity = Sparsity(zeros, block, pattern)

It looks at the values, so zeros count wherever they come from: a mask, or a model that was pruned elsewhere.
The weights of convolutions and dense layers are looked at, those inside fused nodes too. Values stay as they
are; the mark lets `lower` choose sparse kernels. A mark that no longer holds is renewed or taken away.

A pattern holds where storing all its positions would cost at most 1 % more than the elements that are not
zero, so a stray zero in a block does not hide the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.errors import PassError
from nbcnn.ir import Rewriter
from nbcnn.passes import prune_patterns
from nbcnn.passes.base import EXACT, Pass
from nbcnn.passes.prune_layers import layers


@dataclass(frozen=True)
class Sparsify(Pass):
    """Weights of convolutions and dense layers with ``threshold`` zeros or more: marked."""

    name: ClassVar[str] = "sparsify"
    contract: ClassVar = EXACT

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise PassError(
                f"pass '{self.name}', option 'threshold': must be from 0 to 1, got {self.threshold}"
            )

    def run(self, rw: Rewriter) -> None:
        for layer in layers(rw.graph):
            weight = rw.graph.weight(layer.weight)
            found = prune_patterns.found(weight.array, layer.groups)
            mark = found if found.zeros and found.zeros >= self.threshold else None
            if mark == weight.sparsity:
                continue
            what = f"{found.pattern} sparse: {found.zeros:.2%} zeros" if mark else "no longer sparse"
            if not rw.begin(layer.node, f"'{layer.weight}' is {what}"):
                return
            rw.replace_weight(layer.weight, weight.marked(mark))
