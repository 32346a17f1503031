"""What became of a node in a pipeline, and why a pass left it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nbcnn.errors import GraphError, nearest
from nbcnn.ir import Graph
from nbcnn.passes import Pass, Pipeline, get, run
from nbcnn.passes.runner import Record


@dataclass(frozen=True)
class Visit:
    """One run of one pass, as far as it concerns a node.

    ``rewrites`` and ``refusals`` are those at the node, those that name it and, of refusals, those at the
    nodes that read it. ``before`` and ``after`` say where the node is: "a node", "inside 'X'" or "gone".
    """

    number: int
    step: str
    rewrites: tuple[str, ...]
    refusals: tuple[str, ...]
    before: str
    after: str

    @property
    def touched(self) -> bool:
        return bool(self.rewrites) or self.before != self.after


@dataclass(frozen=True)
class NearMiss:
    """A place that a pass looked at and left alone."""

    number: int
    step: str
    node: str
    why: str


def near_misses(records: Iterable[Record], name: str | None = None) -> list[NearMiss]:
    """The refusals of all passes, or of the pass called ``name``."""
    return [
        NearMiss(number, str(record.step), refusal.node, refusal.why)
        for number, record in enumerate(records, 1)
        if name is None or _named(str(record.step)) == _named(name)
        for refusal in record.refusals
    ]


def fate(graph: Graph, passes: Any, node: str) -> list[Visit]:
    """Every run of a pass of the pipeline, as far as it concerns ``node``."""
    known = {n for item in graph.nodes for n in (item.name, *item.outputs)}
    visits: list[Visit] = []
    seen = False

    def visit(record: Record, before: Graph, after: Graph) -> None:
        nonlocal seen
        seen = seen or node in after
        visits.append(_visit(len(visits) + 1, record, before, after, node))

    run(graph, passes, hooks=[visit])
    if node not in known and not seen:
        raise GraphError(f"no node '{node}' in graph '{graph.name}'{nearest(node, known)}")
    return visits


def why_not(graph: Graph, passes: Any, pass_name: str, node: str) -> list[str]:
    """Why the pass did not touch ``node``, or what it did to it.

    A pass that the pipeline does not hold is tried after it, with the options in ``pass_name``.
    """
    cls = get(_named(pass_name))
    pipeline = Pipeline.of(passes)
    visits = fate(graph, pipeline, node)
    mine = [v for v in visits if _named(v.step) == _named(pass_name)]
    notes = []
    if not mine:
        notes.append(f"'{pass_name}' is not in the pipeline; tried after it")
        visits = fate(graph, [*pipeline.steps, pass_name], node)
        mine = visits[-1:]
    for visit in mine:
        notes += _answer(visit, visits, node, cls)
        if visit.rewrites:
            break
    return list(dict.fromkeys(notes))


def _answer(visit: Visit, visits: list[Visit], node: str, cls: type[Pass]) -> list[str]:
    if visit.rewrites:
        return [f"it was rewritten by {text}" for text in visit.rewrites]
    if visit.refusals:
        return [f"refused at {text}" for text in visit.refusals]
    notes = []
    if visit.before != "a node":
        cause = next((v for v in reversed(visits[: visit.number - 1]) if v.before != v.after), None)
        when = f" since pass {cause.number}, {cause.step}" if cause else ""
        detail = f" ({cause.rewrites[0]})" if cause and cause.rewrites else ""
        notes.append(f"'{node}' was {visit.before} when the pass ran{when}{detail}")
    about = (cls.__doc__ or "").strip().splitlines()[0]
    return [*notes, f"'{node}' is not a candidate: {cls.name} looks for {about[:1].lower()}{about[1:]}"]


def _named(spec: str) -> str:
    """The name of a pass, without its options."""
    return spec.partition("{")[0]


def _visit(number: int, record: Record, before: Graph, after: Graph, node: str) -> Visit:
    quoted = f"'{node}'"
    readers: set[str] = set()
    if node in before and not before.is_weight(node) and not before.is_input(node):
        values = before.node(node).outputs if _is_node(before, node) else (node,)
        readers = {reader.name for value in values for reader, _ in before.each_reader(value)}
    rewrites = tuple(
        f"rewrite {r.number} at '{r.node}': {r.what}"
        for r in record.rewrites
        if r.node == node or quoted in r.what
    )
    own = [r for r in record.refusals if r.node == node or quoted in r.why]
    near = own or [r for r in record.refusals if r.node in readers]
    refusals = tuple(f"'{r.node}': {r.why}" for r in near)
    return Visit(number, str(record.step), rewrites, refusals, where(before, node), where(after, node))


def where(graph: Graph, node: str) -> str:
    """``a node``, ``inside 'X'`` for a node of a fused body, or ``gone``."""
    if node in graph:
        holder = None if _is_node(graph, node) else graph.producer(node)
        return "a node" if holder is None or holder.name == node else f"a value of '{holder.name}'"
    for item in graph.nodes:
        body = getattr(item.op, "body", None)
        if body and any(node == n.name or node in n.outputs for n in body.nodes):
            return f"inside '{item.name}'"
    return "gone"


def _is_node(graph: Graph, name: str) -> bool:
    try:
        graph.node(name)
    except GraphError:
        return False
    return True
