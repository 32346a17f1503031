"""Remove what reaches no graph output: dead branches, and weights that nothing reads.

Nodes are visited from the back, so that one rewrite takes a whole branch along, up to the first value that
something else reads. The inputs of the graph stay: they are what callers pass. Nothing is ever refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Rewriter
from nbcnn.passes.base import EXACT, Pass


@dataclass(frozen=True)
class RemoveDead(Pass):
    """Nodes and weights that no graph output depends on; each rewrite removes one dead branch."""

    name: ClassVar[str] = "remove-dead"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        names = [node.name for node in reversed(rw.graph.nodes)] + list(rw.graph.weights)
        for name in names:
            if name not in rw.graph:
                continue  # went with the branch that it fed
            node = None if rw.graph.is_weight(name) else rw.graph.node(name)
            values = node.outputs if node else (name,)
            if any(map(rw.graph.is_used, values)):
                continue
            if not rw.begin(name, "reaches no output"):
                return
            rw.erase_dead(values[:1])
