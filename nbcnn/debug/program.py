"""A compiled program node by node: each judged on the operands that the program itself computed.

The program is compiled with a few taps at a time, so that memory stays within bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from nbcnn import reference
from nbcnn.debug.compare import Tensor, measure
from nbcnn.debug.inputs import Inputs
from nbcnn.ir import BATCH, Graph
from nbcnn.lower.model import Model
from nbcnn.lower.select import Choice
from nbcnn.lower.taps import bodies

MOST_BYTES = 1 << 28
"""Bytes of tapped values in one run, unless a single node needs more."""

Compile = Callable[[Iterable[str]], Model]
"""Compiles the program with these taps."""

Judged = tuple[Choice, Tensor]


def nodes(compile_: Compile, graph: Graph, inputs: Inputs, rtol: float | None = None) -> Iterator[Judged]:
    """Every result of every node as it was lowered, in order, with the kernel that made it."""
    for group in _groups(compile_(()).choices, inputs):
        yield from _judge(compile_, graph, group, inputs, rtol)


def inside(
    compile_: Compile, graph: Graph, choice: Choice, inputs: Inputs, rtol: float | None
) -> list[Judged]:
    """The values of the fused body of ``choice``, in order, its result last."""
    body = getattr(choice.site.op, "body", None)
    found = []
    if body is not None and choice.site.name in graph:
        values = [v for n in body.nodes for v in n.outputs if v in bodies(graph)]
        taps = compile_(values).choices
        parts = [c for c in taps if c.site.outputs[0] in values and c.site.outputs != choice.site.outputs]
        found = list(_judge(compile_, graph, parts, inputs, rtol))
    return [*found, *_judge(compile_, graph, [choice], inputs, rtol)]


def results(shared: Model, kept: Model, inputs: Inputs) -> Iterator[Tensor]:
    """The results where values share memory against those where each has its own: bit by bit the same."""
    got, want = ({"": r} if isinstance(r, np.ndarray) else r for r in (shared(**inputs), kept(**inputs)))
    for name, array in want.items():
        yield measure(name or next(iter(shared.graph.outputs)), array, got[name], 0.0)


def _judge(
    compile_: Compile, graph: Graph, choices: list[Choice], inputs: Inputs, rtol: float | None
) -> Iterator[Judged]:
    names = {v for c in choices for v in (*c.site.data, *c.site.outputs)}
    names -= graph.weights.keys()
    if not names:
        return
    values = compile_(sorted(names)).tap(**inputs, values=names)
    for choice in choices:
        site = choice.site
        arrays = [values[v] if v in values else graph.weight(v).array for v in site.data]
        arrays += [w.array for _, w in site.weights]
        if any(a.dtype != np.float32 for a in arrays):
            continue  # served by the reference itself, and only float32 can be tapped
        wants = site.op.reference(*(a.astype(np.float64) for a in arrays))
        if rtol is None:
            limits = reference.bound(site.op, arrays, np.float32, *choice.kernel.rounding)
        else:
            limits = [np.array(rtol * float(abs(want).max(initial=0))) for want in wants]
        for value, want, limit in zip(site.outputs, wants, limits, strict=True):
            yield choice, measure(value, want, values[value], limit)


def _groups(choices: list[Choice], inputs: Inputs) -> Iterator[list[Choice]]:
    batch = next(iter(inputs.values())).shape[0]
    group: list[Choice] = []
    sizes: dict[str, int] = {}
    for choice in choices:
        site = choice.site
        types = dict(zip((*site.data, *site.outputs), (*site.in_types, *site.out_types), strict=True))
        own = {v: t.bind({BATCH: batch}).nbytes() for v, t in types.items()}
        if group and sum((sizes | own).values()) > MOST_BYTES:
            yield group
            group, sizes = [], {}
        group.append(choice)
        sizes |= own
    if group:
        yield group
