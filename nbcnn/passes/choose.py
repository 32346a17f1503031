"""Which nodes a pass is to work on, where its option ``nodes`` says so: shell patterns of their names."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from nbcnn.ir import Node, Rewriter

EVERY = ("*",)


def chosen(rw: Rewriter, patterns: tuple[str, ...]) -> Iterator[Node]:
    """The nodes that a pattern fits, as they are when their turn comes; one that fits none is a near miss.

    A node that an earlier rewrite erased is left out, and one that it added is not there yet.
    """
    names = [node.name for node in rw.graph.nodes]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            rw.refuse(pattern, "no node has such a name")
    for name in names:
        if name in rw.graph and any(fnmatchcase(name, pattern) for pattern in patterns):
            yield rw.graph.node(name)
