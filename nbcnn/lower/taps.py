"""Taps: values inside fused nodes that stay readable, computed by steps of their own.

The fused step stays as it is. For a value inside its body the same kernel also serves a site of its own: the
part of the body that leads to the value, on the same operands.
"""

from __future__ import annotations

from nbcnn.errors import OptionError, nearest
from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Kernel, Site
from nbcnn.lower.select import AnyTarget, Choice, batch_axis, contest, parts_of
from nbcnn.ops.fused import Body, Fused
from nbcnn.options import CompileOptions


def add_taps(
    graph: Graph, choices: list[Choice], table: tuple[Kernel, ...], target: AnyTarget, options: CompileOptions
) -> list[Choice]:
    """``choices`` and, after each, one for every value inside its body that ``options.taps`` names.

    Raises OptionError for a name that no value of the program bears.
    """
    made = {*graph.inputs, *(v for choice in choices for v in choice.site.outputs)}
    wanted = {*options.taps} - made
    batch = batch_axis(graph)
    found: list[Choice] = []
    for choice in choices:
        found.append(choice)
        if wanted and isinstance(choice.site.op, Fused):
            for part in parts_of(graph, graph.node(choice.site.name)):
                for value in wanted.intersection(part.outputs):
                    site = _leading_to(choice.site, part, value)
                    same = choice.kernel.refuse(site, target, options) is None
                    rivals = contest(site, batch, (choice.kernel,) if same else table, target, options)
                    found.append(rivals.won_by(rivals.cheapest))
                    made.add(value)
    if missing := sorted({*options.taps} - made):
        raise OptionError(
            f"no value '{missing[0]}' to tap in the program{nearest(missing[0], made | bodies(graph))}"
        )
    return found


def bodies(graph: Graph) -> set[str]:
    """Names of the values inside fused nodes."""
    return {
        v for node in graph.nodes if isinstance(node.op, Fused) for n in node.op.body.nodes for v in n.outputs
    }


def _leading_to(whole: Site, part: Site, value: str) -> Site:
    """The site that computes ``value``, made by ``part`` of the body of ``whole``, alone."""
    assert isinstance(whole.op, Fused)
    body = whole.op.body
    needed, nodes = {value}, list[Node]()
    for node in reversed(body.nodes):
        if needed.intersection(node.outputs):
            nodes.insert(0, node)
            needed.update(node.inputs)
    if len(nodes) == 1:
        return part
    data = [i for i, v in enumerate(body.inputs) if v in needed]
    weights = [i for i, v in enumerate(body.weights) if v in needed]
    op = Fused(
        Body(
            tuple(body.inputs[i] for i in data),
            tuple(body.weights[i] for i in weights),
            tuple(nodes),
            (value,),
        )
    )
    types = tuple(whole.in_types[i] for i in data)
    operands: list[TensorType] = [*types, *(whole.weights[i][1].type for i in weights)]
    outs = op.infer(*types)
    return Site(
        value,
        op,
        tuple(whole.data[i] for i in data),
        tuple(whole.weights[i] for i in weights),
        (value,),
        types,
        outs,
        op.macs(operands, outs),
        whole.constants,
    )
