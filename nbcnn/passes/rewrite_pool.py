"""Pooling that does the same with less work; the rules and their algebra are in two files.

`mean_rules`: a mean over the whole plane is global_avg_pool (avg_pool, reduce_mean); a linear 1x1
convolution runs behind the mean; a mean joins the convolution before it as a stride.

`max_rules`: a maximum over the whole plane is global_max_pool; a non-decreasing activation runs behind the
maximum; cascaded maxima become one.

`windows.separate`, for both: a large overlapping window is computed along the rows, then along the columns.

A node that remains bears the name of the pool; what is computed on the way to it is called ``<pool>.first``.
(Pooling with a 1x1 window is `remove-identity`'s, padding in front of a pool `fold-pad`'s.)

Where a rule saves arithmetic on one side and costs on the other, it counts: multiply-accumulates of the
convolutions and additions or comparisons of the pools, at one each. Counts depend on the graph alone, so
the optimised graph is the same for every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.passes import max_rules, mean_rules, rules, windows
from nbcnn.passes.base import REASSOCIATES, Pass


@dataclass(frozen=True)
class RewritePool(Pass):
    """Whole-plane, cascaded, wide and movable pooling: less work for the same result."""

    name: ClassVar[str] = "rewrite-pool"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        every = (*mean_rules.RULES, *max_rules.RULES, windows.separate)
        rules.apply(rw, [_of_planes(rule) for rule in every])


def _of_planes(rule: rules.Rule) -> rules.Rule:
    """``rule`` where it applies: at nodes of one result (no indices of maxima) that read [N, C, H, W]."""

    def checked(graph: Graph, node: Node) -> rules.Plan | str | None:
        fits = len(node.outputs) == 1 and bool(node.data) and graph.type(node.data[0]).rank == 4
        return rule(graph, node) if fits else None

    return checked
