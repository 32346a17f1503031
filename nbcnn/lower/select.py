"""Which kernel serves each node, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.types import BATCH, Dim
from nbcnn.kernels.base import PLAIN, Emit, Kernel, Layout, Site, Step, View
from nbcnn.ops.fused import Fused
from nbcnn.options import CompileOptions
from nbcnn.target import Target


class Reference(Kernel):
    """The fallback: the operator's NumPy reference, called from Python between native steps."""

    name = "reference"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        return None

    def cost(self, site: Site, target: Target) -> float:
        return float("inf")

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN,) * len(site.data)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN,) * len(site.outputs)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        raise NotImplementedError("the planner makes Python steps")


REFERENCE = Reference()


@dataclass(frozen=True)
class Candidate:
    """A kernel that was looked at: its estimated seconds at batch 1, or why it cannot serve."""

    kernel: str
    seconds: float | None
    reason: str | None


@dataclass(frozen=True)
class Choice:
    """The kernel of a site and the candidates that lost."""

    site: Site
    kernel: Kernel
    candidates: tuple[Candidate, ...]


def select(graph: Graph, table: tuple[Kernel, ...], target: Target, options: CompileOptions) -> list[Choice]:
    """A kernel for every node; a fused body that no kernel takes whole is served node by node."""
    batch = batch_axis(graph)
    choices = []
    for node in graph.nodes:
        whole = choose(site_of(graph, node), batch, table, target, options)
        if whole.kernel is REFERENCE and isinstance(node.op, Fused):
            choices += [choose(s, batch, table, target, options) for s in parts_of(graph, node)]
        else:
            choices.append(whole)
    return choices


def batch_axis(graph: Graph) -> Dim:
    """``N`` where any input of the graph begins with it, else the leading number of the first."""
    leading = [type_.shape[0] for type_ in graph.inputs.values() if type_.shape]
    return BATCH if BATCH in leading or not leading else leading[0]


def choose(
    site: Site, batch: Dim, table: tuple[Kernel, ...], target: Target, options: CompileOptions
) -> Choice:
    """The cheapest kernel that does not refuse ``site``; the reference when all do."""
    best, price, candidates = REFERENCE, float("inf"), []
    for kernel in table:
        reason = _unvectorised(site, batch, kernel) or kernel.refuse(site, target, options)
        seconds = None if reason else kernel.cost(site, target)
        candidates.append(Candidate(kernel.name, seconds, reason))
        if seconds is not None and seconds < price:
            best, price = kernel, seconds
    return Choice(site, best, tuple(c for c in candidates if c.kernel != best.name))


def _unvectorised(site: Site, batch: Dim, kernel: Kernel) -> str | None:
    """Why ``kernel`` cannot serve ``site`` whatever it computes, or None."""
    if not site.op.variadic and len(site.data) > len(site.op.operands):
        return "its weights are computed at run time"
    for type_ in (*site.in_types, *site.out_types):
        if type_.dtype != "float32":
            return f"kernels compute in float32, not {type_.dtype}"
    fixed = site.constants if kernel.takes_constants else ()
    moving = (t for v, t in zip(site.data, site.in_types, strict=True) if v not in fixed)
    for type_ in (*site.out_types, *moving):
        if not type_.shape or type_.shape[0] != batch:
            return f"{type_} does not begin with the batch"
        if 0 in type_.shape:
            return f"{type_} is empty"
    return None


def site_of(graph: Graph, node: Node) -> Site:
    """The site of a node of the graph; weights that are computed make all its operands data."""
    fixed = all(graph.is_weight(name) for name in node.weights)
    data, weights = (node.data, node.weights) if fixed else (node.inputs, ())
    return Site(
        node.name,
        node.op,
        data,
        tuple((name, graph.weight(name)) for name in weights),
        node.outputs,
        graph.types(data),
        graph.types(node.outputs),
        graph.work(node).macs,
        tuple(v for v in data if graph.is_weight(v)),
    )


def parts_of(graph: Graph, node: Node) -> list[Site]:
    """The sites of the body of a fused node, under the graph's names."""
    assert isinstance(node.op, Fused)
    body = node.op.body
    actual = dict(zip(body.inputs + body.weights, node.inputs, strict=True))
    actual |= dict(zip(body.outputs, node.outputs, strict=True))
    types = {f: graph.type(a) for f, a in actual.items()}
    sites = []
    for part in body.nodes:
        ins = tuple(types[v] for v in part.data)
        types |= dict(zip(part.outputs, part.op.infer(*ins), strict=True))
        outs = tuple(types[v] for v in part.outputs)
        fixed = all(v in actual and graph.is_weight(actual[v]) for v in part.weights)
        data, named = (part.data, part.weights) if fixed else (part.inputs, ())
        weights = tuple((actual[v], graph.weight(actual[v])) for v in named)
        operands = [types[v] for v in part.inputs]
        sites.append(
            Site(
                part.name,
                part.op,
                tuple(actual.get(v, v) for v in data),
                weights,
                tuple(actual.get(v, v) for v in part.outputs),
                tuple(types[v] for v in data),
                outs,
                part.op.macs(operands, outs),
                tuple(actual[v] for v in data if v in actual and graph.is_weight(actual[v])),
            )
        )
    return sites
