"""Passes made of rules: functions that look at one node and say what could be done there.

A rule answers with a `Plan`, with the reason why a near miss has to stay, or with None. `apply` tries every
rule at every node until none has a plan, and looks again at the nodes that a plan names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nbcnn.ir import Graph, Node, Rewriter


@dataclass(frozen=True)
class Plan:
    """A rewrite: what it does, and the edits, which return the names of the nodes to look at again."""

    what: str
    edit: Callable[[Rewriter], Iterable[str]]


Rule = Callable[[Graph, Node], Plan | str | None]


def apply(rw: Rewriter, rules: Sequence[Rule]) -> None:
    """Carry out the plans of ``rules``, the first that has one at each node first."""
    pending = deque(node.name for node in rw.graph.nodes)
    while pending:
        name = pending.popleft()
        if name not in rw.graph:
            continue  # an earlier plan took it along
        refused: list[str] = []
        for rule in rules:
            plan = rule(rw.graph, rw.graph.node(name))
            if isinstance(plan, Plan):
                if not rw.begin(name, plan.what):
                    return
                pending.extendleft(plan.edit(rw))
                break
            if plan is not None:
                refused.append(plan)
        else:
            for why in refused:
                rw.refuse(name, why)
