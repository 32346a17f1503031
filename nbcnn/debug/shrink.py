"""A failing graph cut down to a small one that still fails.

Greedy and deterministic, largest cuts first: the surroundings of the fault where they are known, one result,
nothing after the fault, nothing before it (inner values become inputs), single nodes bypassed where the types
allow, smaller images. Each candidate costs one call of the caller's test, and there is a limit on these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nbcnn.debug.bisect import Fault, bisect
from nbcnn.debug.graphs import cut
from nbcnn.errors import NbcnnError
from nbcnn.ir import Graph, Rewriter, TensorType

Fails = Callable[[Graph], bool]

HOPS = (2, 4, 8)
"""How many nodes deep the surroundings of a fault are that are tried first."""


def shrink(graph: Graph, fails: Fails, most: int = 200, near: str = "") -> Graph:
    """The smallest graph found in ``most`` tests that ``fails`` still; ``graph`` itself when nothing can go.

    ``near`` is the value where to look first, such as the tensor of a fault.
    ``fails`` may raise NbcnnError, which counts as no: a graph that cannot be run shows nothing.
    """
    test = _Test(fails, most)
    graph = _around(graph, test, near)
    changed = True
    while changed:
        size = _size(graph)
        for step in (_results, _after, _before, _inner, _bypass, _images):
            graph = step(graph, test)
        changed = _size(graph) < size
    return graph


def same_fault(fault: Fault, passes: Any, *, rtol: float | None = None, threads: int | None = None) -> Fails:
    """Whether `bisect` on seeded inputs still finds a fault in the same pass, or else in lowering."""

    def fails(graph: Graph) -> bool:
        compiled = fault.stage == "lowering"
        found = bisect(graph, passes, rtol=rtol, compiled=compiled, threads=threads, trace=False).fault
        return found is not None and (found.stage, found.step) == (fault.stage, fault.step)

    return fails


class _Test:
    def __init__(self, fails: Fails, most: int) -> None:
        self.fails, self.left = fails, most

    def __call__(self, make: Callable[[], Graph]) -> Graph | None:
        """The graph that ``make`` gives, if it still fails."""
        if self.left <= 0:
            return None
        try:
            graph = make()
            self.left -= 1
            return graph if self.fails(graph) else None
        except NbcnnError:
            return None


def _size(graph: Graph) -> tuple[int, int]:
    return len(graph.nodes) + len(graph.outputs), sum(graph.type(v).elements() for v in graph.inputs)


def _around(graph: Graph, test: _Test, near: str) -> Graph:
    """The few nodes that lead to ``near``."""
    if near not in graph or graph.is_input(near) or graph.is_weight(near):
        return graph
    inner, outer = set[str](), {near}
    candidates = []
    for steps in range(1, max(HOPS) + 1):
        inner |= outer
        makers = [maker for v in outer if (maker := graph.producer(v)) is not None]
        outer = {v for maker in makers for v in maker.data} - inner
        if steps in HOPS:
            given = {v for node in graph.nodes for v in node.outputs} - inner
            candidates.append(lambda given=given: cut(graph, {near: near}, given))
    return _take_first(graph, test, candidates)


def _results(graph: Graph, test: _Test) -> Graph:
    """Keep one result."""
    names = graph.outputs.items() if len(graph.outputs) > 1 else ()
    return _take_first(graph, test, (lambda k=k, v=v: cut(graph, {k: v}) for k, v in names))


def _after(graph: Graph, test: _Test) -> Graph:
    """End at an inner value: halve what follows the first node as long as the rest still fails."""
    values = [v for node in graph.nodes for v in node.outputs]

    def ends_at(place: int) -> Callable[[], Graph]:
        return lambda: cut(graph, {values[place]: values[place]})

    return _halve(graph, test, 0, len(values) - 1, ends_at)


def _before(graph: Graph, test: _Test) -> Graph:
    """Begin at inner values: the latest place where all that comes before can go."""
    nodes = graph.nodes

    def begins_at(place: int) -> Callable[[], Graph]:
        given = {v for node in nodes[:place] for v in node.outputs}
        return lambda: cut(graph, graph.outputs, given)

    return _halve(graph, test, 0, len(nodes) - 1, lambda number: begins_at(len(nodes) - 1 - number))


def _inner(graph: Graph, test: _Test) -> Graph:
    """Make single inner values inputs, the last first."""
    for value in [v for node in reversed(graph.nodes) for v in node.outputs]:
        if value in graph and not graph.is_output(value) and not graph.is_input(value):
            graph = test(lambda value=value, graph=graph: cut(graph, graph.outputs, {value})) or graph
    return graph


def _bypass(graph: Graph, test: _Test) -> Graph:
    """Let the readers of a node read one of its operands instead."""
    for name in [node.name for node in reversed(graph.nodes)]:
        node = next((n for n in graph.nodes if n.name == name), None)
        if node is None or len(node.outputs) != 1:
            continue
        for operand in node.data:
            if graph.type(operand) == graph.type(node.output):
                smaller = test(lambda graph=graph, name=name, operand=operand: _without(graph, name, operand))
                if smaller is not None:
                    graph = smaller
                    break
    return graph


def _images(graph: Graph, test: _Test) -> Graph:
    """Halve the height and width of all images that come in, as often as it works."""
    while True:
        inputs = {k: _half(t) for k, t in graph.inputs.items()}
        if inputs == graph.inputs:
            return graph
        smaller = test(
            lambda graph=graph, inputs=inputs: Graph.build(
                graph.name, inputs, graph.nodes, graph.weights, graph.outputs, dict(graph.meta)
            )
        )
        if smaller is None:
            return graph
        graph = smaller


def _half(type_: TensorType) -> TensorType:
    if type_.rank != 4:
        return type_
    extents = (max(d // 2, 1) if isinstance(d, int) else d for d in type_.shape[2:])
    return TensorType((*type_.shape[:2], *extents), type_.dtype)


def _without(graph: Graph, name: str, operand: str) -> Graph:
    rw = Rewriter(graph)
    rw.begin(name, "bypassed")
    rw.redirect(rw.graph.node(name).output, operand)
    rw.erase_dead([name])
    return cut(rw.graph, rw.graph.outputs)


def _take_first(graph: Graph, test: _Test, candidates: Iterable[Callable[[], Graph]]) -> Graph:
    return next((g for g in map(test, candidates) if g is not None), graph)


def _halve(
    graph: Graph, test: _Test, low: int, high: int, candidate: Callable[[int], Callable[[], Graph]]
) -> Graph:
    """The candidate of the smallest number that fails, found by halving; ``high`` stands for ``graph``."""
    while low < high:
        middle = (low + high) // 2
        smaller = test(candidate(middle))
        if smaller is None:
            low = middle + 1
        else:
            graph, high = smaller, middle
    return graph
