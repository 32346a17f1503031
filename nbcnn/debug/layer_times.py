"""How long each layer takes on this machine at each share of zeros.

The model is compiled for sparse kernels once for each share, all layers pruned to it, and its steps are timed
one by one. A layer takes as long as the steps of the node that it is part of once optimised, and the
conversions of what they read; all other steps are the rest, which pruning is taken to leave as it is.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nbcnn.debug.samples import Samples, fixed_batch
from nbcnn.debug.sensitivity import Progress, Sensitivity
from nbcnn.ir import Graph, Node
from nbcnn.lower.build import compile_graph
from nbcnn.lower.model import CONVERSION, Model, StepTime
from nbcnn.ops.conv import Conv
from nbcnn.ops.dense import Dense
from nbcnn.options import CompileOptions
from nbcnn.passes import Pipeline, channel_cuts, fusing, optimize
from nbcnn.passes.prune_layers import Layer

ROUNDS, REPEATS = 7, 3
"""Each step counts as its least of so many rounds, of each the median of so many repeats."""

Inputs = Mapping[str, np.ndarray]
Profile = Callable[[Graph], Sequence[StepTime]]
"""Times the steps of an optimised graph."""


@dataclass(frozen=True)
class LayerTimes:
    """Seconds of one call: of ``layers``, by weight, at each of ``shares`` (0 first), and of the ``rest``."""

    shares: tuple[float, ...]
    layers: Mapping[str, tuple[float, ...]]
    rest: float

    def __call__(self, layer: Layer, share: float) -> float:
        """Seconds of a layer; linear between the shares measured."""
        return float(np.interp(share, self.shares, self.layers[layer.weight]))

    @property
    def dense(self) -> float:
        """Seconds of the whole model without zeros."""
        return self.rest + sum(times[0] for times in self.layers.values())

    @property
    def least(self) -> float:
        """Seconds of the whole model with each layer at the share where it is the fastest."""
        return self.rest + sum(min(times) for times in self.layers.values())


def measure(
    graph: Graph, found: Sensitivity, profile: Profile, progress: Progress | None = None
) -> LayerTimes:
    """The times of the layers of ``found`` in ``graph`` at each of its shares and without zeros."""
    layers = [entry.layer for entry in found.entries]
    shares = (0.0, *found.shares)
    columns: list[dict[str, float]] = []
    rest = 0.0
    for number, share in enumerate(shares):
        if progress:
            progress(number, len(shares), f"{share:.4g} zeros")
        pruned = optimize(graph, found.spec({x.name: share for x in layers})) if share and layers else graph
        lowered = sparse(pruned)
        seconds = _by_owner(profile(lowered), owners(graph, layers, lowered))
        columns.append({x.weight: seconds.get(x.weight, 0.0) for x in layers})
        if not share:
            rest = seconds.get(None, 0.0)
    return LayerTimes(shares, {x.weight: tuple(c[x.weight] for c in columns) for x in layers}, rest)


def sparse(graph: Graph) -> Graph:
    """``graph`` as it is compiled when its zeros are to pay."""
    return optimize(graph, Pipeline.of("sparse"))


def profiled(inputs: Inputs, threads: int | None = None, rounds: int = ROUNDS) -> Profile:
    """Compiles for ``threads`` and takes each step's least time."""

    def profile(lowered: Graph) -> list[StepTime]:
        model = _compiled(lowered, threads)
        found = [model.profile(**inputs, repeats=REPEATS) for _ in range(rounds)]
        return [min(rows, key=lambda row: row.seconds) for rows in zip(*found, strict=True)]

    return profile


def latency(lowered: Graph, inputs: Inputs, threads: int | None = None, calls: int = 50) -> float:
    """The least seconds of so many calls of the compiled graph."""
    model = _compiled(lowered, threads)
    least = float("inf")
    for _ in range(calls):
        start = time.perf_counter()
        model.run(inputs)
        least = min(least, time.perf_counter() - start)
    return least


def one_call(graph: Graph, samples: Samples) -> Inputs:
    """The samples of one call: the first, or as many as a fixed batch takes."""
    return samples.rows(slice(0, fixed_batch(graph) or 1)).inputs


def owners(graph: Graph, layers: Iterable[Layer], lowered: Graph) -> dict[str, str]:
    """The weight of the layer that each node of ``lowered``, and each part of a fused one, belongs to.

    ``lowered`` is ``graph`` optimised. Folding leaves a layer under the name of what was folded into it, so
    a layer is looked for by its own name, then by those of the nodes behind it.
    """
    held = {}
    for node in lowered.nodes:
        parts = fusing.parts(node)
        if any(isinstance(part.op, Conv | Dense) for part in parts):
            names = {node.name, *(part.name for part in parts)}
            held |= {channel_cuts.origin(name): names for name in names}
    found: dict[str, str] = {}
    for layer in layers:
        for reader, _ in graph.readers(layer.weight):
            name = next((n for n in _behind(graph, reader) if n in held), None)
            found |= dict.fromkeys(held[name] if name else (), layer.weight)
    return found


def _behind(graph: Graph, node: Node) -> Iterable[str]:
    """The names of a node and of what lies behind it, as far as that may have been folded into it."""
    yield node.name
    waiting = [node]
    for now in waiting:
        for reader, _ in graph.readers(now.output) if len(now.outputs) == 1 else ():
            layer = any(isinstance(part.op, Conv | Dense) for part in fusing.parts(reader))
            if sum(not graph.is_weight(v) for v in reader.data) == 1 and not layer and reader not in waiting:
                yield reader.name
                waiting.append(reader)


def _by_owner(rows: Iterable[StepTime], owned: Mapping[str, str]) -> dict[str | None, float]:
    """Seconds by owner, None for the rest; a conversion stands before the step that reads what it makes."""
    found: dict[str | None, float] = {}
    waiting = 0.0
    for row in rows:
        waiting += row.seconds
        if row.op != CONVERSION:
            owner = owned.get(row.node)
            found[owner] = found.get(owner, 0.0) + waiting
            waiting = 0.0
    found[None] = found.get(None, 0.0) + waiting
    return found


def _compiled(lowered: Graph, threads: int | None) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is missing is told by `nbcnn explain`
        return compile_graph(lowered, CompileOptions(threads=threads))
