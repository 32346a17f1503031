"""Which kernel serves each node, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.types import BATCH, Dim
from nbcnn.kernels.base import Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View
from nbcnn.kernels.steps import Step
from nbcnn.ops.fused import Fused
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget, Target

AnyTarget = Target | CudaTarget
"""What kernels are chosen for."""


class Reference(Kernel):
    """The fallback: the operator's NumPy reference, called from Python between native steps."""

    name = "reference"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
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
    """A kernel that was looked at, by its title: its seconds at batch 1, or why it cannot serve.

    ``measured``: on this machine, on all threads of a call; else estimated, on one.
    """

    kernel: str
    seconds: float | None
    reason: str | None
    measured: bool = False

    @classmethod
    def of(cls, offer: Offer) -> Candidate:
        """An offer that was not taken."""
        return cls(offer.kernel.title, offer.seconds, None, offer.measured)


@dataclass(frozen=True)
class Offer:
    """A kernel that can serve a site, and its seconds at batch 1, estimated or measured."""

    kernel: Kernel
    seconds: float
    measured: bool = False


@dataclass(frozen=True)
class Contest:
    """A site, the kernels that can serve it, and those that refused."""

    site: Site
    offers: tuple[Offer, ...]
    refused: tuple[Candidate, ...]

    @property
    def cheapest(self) -> Offer:
        """The offer of fewest seconds; the reference where there is none."""
        return min(self.offers, key=lambda o: o.seconds, default=Offer(REFERENCE, float("inf")))

    def won_by(self, winner: Offer) -> Choice:
        """The choice of ``winner``, one of the offers."""
        lost = [Candidate.of(o) for o in self.offers if o is not winner]
        return Choice(self.site, winner.kernel, (*lost, *self.refused), winner.seconds, winner.measured)


@dataclass(frozen=True)
class Choice:
    """The kernel of a site, its seconds as a candidate has them, and the candidates that lost."""

    site: Site
    kernel: Kernel
    candidates: tuple[Candidate, ...]
    seconds: float
    measured: bool = False


def contests(
    graph: Graph, table: tuple[Kernel, ...], target: AnyTarget, options: CompileOptions
) -> list[Contest]:
    """The kernels that can serve each node; a fused body that none takes whole is served node by node."""
    batch = batch_axis(graph)
    found = []
    for node in graph.nodes:
        whole = contest(site_of(graph, node), batch, table, target, options)
        if not whole.offers and isinstance(node.op, Fused):
            found += [contest(s, batch, table, target, options) for s in parts_of(graph, node)]
        else:
            found.append(whole)
    tried = any(offer.kernel.on_trial for c in found for offer in c.offers)
    return found if tried else [_of_pixels(c) for c in found]


def of_channels(site: Site, kernel: Kernel) -> bool:
    """Whether ``kernel`` reads whole channels at ``site``, as sparse filters do."""
    return any(layout.kind == "planes" for layout in kernel.reads(site))


def _of_pixels(contest: Contest) -> Contest:
    """``contest`` without the kernels of whole channels, which only pay beside those on trial."""
    pixels = tuple(o for o in contest.offers if not of_channels(contest.site, o.kernel))
    if len(pixels) in (0, len(contest.offers)):
        return contest
    why = "nothing around it reads whole channels"
    others = (Candidate(o.kernel.title, None, why) for o in contest.offers if o not in pixels)
    return Contest(contest.site, pixels, (*others, *contest.refused))


def batch_axis(graph: Graph) -> Dim:
    """``N`` where any input of the graph begins with it, else the leading number of the first."""
    leading = [type_.shape[0] for type_ in graph.inputs.values() if type_.shape]
    return BATCH if BATCH in leading or not leading else leading[0]


def contest(
    site: Site, batch: Dim, table: tuple[Kernel, ...], target: AnyTarget, options: CompileOptions
) -> Contest:
    """Which kernels of ``table`` can serve ``site``, and why the others cannot."""
    offers, refused = [], []
    for kernel in table:
        reason = _unvectorised(site, batch, kernel) or kernel.refuse(site, target, options)
        if reason:
            refused.append(Candidate(kernel.name, None, reason))
        else:
            offers.append(Offer(kernel, kernel.cost(site, target)))
    return Contest(site, tuple(offers), tuple(refused))


def _unvectorised(site: Site, batch: Dim, kernel: Kernel) -> str | None:
    """Why ``kernel`` cannot serve ``site`` whatever it computes, or None."""
    if not site.op.variadic and len(site.data) > len(site.op.operands):
        return "its weights are computed at run time"
    for type_ in (*site.in_types, *site.out_types):
        if type_.dtype != "float32" and not (kernel.takes_indices and type_.dtype in ("int32", "int64")):
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
