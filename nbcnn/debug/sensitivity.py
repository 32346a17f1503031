"""How much a model errs when one layer is pruned: each layer alone, for several shares of zeros.

    error(l, s) = |f(x; w_l pruned to s) - f(x; w)| / |f(x; w)|      (Euclidean, over all samples and results)

What a layer does not reach is computed once and kept; for each layer and share only what lies downstream
runs again: the layer itself with each of its new weights, and all behind it, as a program that is compiled
once for the layer. Samples go through in chunks, so that the values kept stay within `MOST_BYTES`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from nbcnn.debug.graphs import cut
from nbcnn.debug.samples import Samples, fixed_batch
from nbcnn.errors import InputError, OptionError
from nbcnn.ir import Graph, Node
from nbcnn.passes import Pipeline, optimize, prune_layers, prune_patterns
from nbcnn.passes.prune import Prune
from nbcnn.passes.prune_layers import Layer

MOST_BYTES = 1 << 29
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

Values = Mapping[str, np.ndarray]
Run = Callable[[Values], Mapping[str, np.ndarray]]
Compile = Callable[[Graph], Run]
"""Makes of a graph what computes its results from its inputs."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Entry:
    """One layer: its error for each share of zeros, and the accuracy where there are labels."""

    layer: Layer
    macs: int
    errors: tuple[float, ...]
    accuracy: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Sensitivity:
    """All layers that were measured, for the same ``shares``; ``accuracy`` is that of the dense model.

    ``skipped`` tells why of layers that the pattern does not fit.
    """

    model: str
    samples: int
    settings: Prune
    shares: tuple[float, ...]
    entries: tuple[Entry, ...]
    accuracy: float | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def spec(self, shares: Mapping[str, float]) -> Pipeline:
        """The pipeline that prunes these layers, and only these, as they were pruned here."""
        if not shares:
            raise OptionError("nothing is to be pruned: the target is met by the dense model")
        settings = _alone(self.settings, shares)
        return Pipeline((settings,), description=f"The weights of {self.model} that matter least.")


def compiled(threads: int | None = None) -> Compile:
    """Programs as `nbcnn.compile` makes them; what has no kernel is computed by the reference, in silence."""
    from nbcnn.lower.build import compile_graph
    from nbcnn.options import CompileOptions

    # Winograd's weights take longer to transform, for each program anew, than few samples take to run.
    options = CompileOptions(threads=threads, winograd=False)
    pipeline = Pipeline.of("default")

    def make(graph: Graph) -> Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile_graph(optimize(graph, pipeline), options).run

    return make


def measure(
    graph: Graph,
    samples: Samples,
    shares: Sequence[float] | None = None,
    *,
    settings: Prune | None = None,
    compile_: Compile | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """The sensitivity of each layer of ``graph`` to each of ``shares``.

    ``settings`` tells pattern, criterion, seed and the layers to keep; its share does not matter. Raises
    OptionError for shares that the pattern does not allow, InputError for labels that do not fit.
    """
    settings = settings or Prune(0.5)
    fixed = prune_patterns.PATTERNS[settings.pattern].zeros
    shares = tuple(sorted(set(shares if shares is not None else (fixed,) if fixed else SHARES)))
    if not shares or any(not 0 < share < 1 or share != (fixed or share) for share in shares):
        allowed = f"{fixed} for {settings.pattern}" if fixed else "above 0 and below 1"
        raise OptionError(f"shares must be {allowed}, got {', '.join(map(str, shares)) or 'none'}")
    layers, skipped = _layers(graph, settings)
    cuts = [_Cut.of(graph, layer) for layer in layers]
    study = _Study(graph, samples, compile_ or compiled(), cuts)
    entries = []
    for number, one in enumerate(cuts):
        if progress:
            progress(number, len(cuts), one.layer.name)
        pruned = [pruned_alone(graph, one.layer, share, settings) for share in shares]
        scores = study.scores(one, pruned)
        accuracy = tuple(s.accuracy for s in scores) if samples.labels is not None else None
        errors = tuple(s.error for s in scores)
        entries.append(Entry(one.layer, prune_layers.macs(graph, one.layer), errors, accuracy))
    dense = study.dense().accuracy if samples.labels is not None else None
    return Sensitivity(graph.name, samples.count, settings, shares, tuple(entries), dense, skipped)


def joint(graph: Graph, pruned: Graph, samples: Samples, compile_: Compile | None = None) -> Score:
    """The error of ``pruned`` as a whole."""
    make = compile_ or compiled()
    score, runs = Score(), (make(graph), make(pruned))
    for chunk in _chunks(graph, samples, graph.nodes[0].outputs):
        want, got = (run(chunk.inputs) for run in runs)
        score.add(want, got, chunk.labels)
    return score


def pruned_alone(graph: Graph, layer: Layer, share: float, settings: Prune) -> Graph:
    """``graph`` with this one layer pruned."""
    return optimize(graph, [_alone(settings, {layer.name: share})], verify=False)


def _alone(settings: Prune, shares: Mapping[str, float]) -> Prune:
    """``settings`` for these layers and no others."""
    return replace(settings, sparsity=None, distribution=None, keep=("*",), layers=dict(shares))


@dataclass
class Score:
    """Sums over samples: squares of the error and of the right results, and right answers."""

    wrong: float = 0.0
    whole: float = 0.0
    right: int = 0
    count: int = 0

    def add(self, want: Values, got: Values, labels: np.ndarray | None) -> None:
        """Judge results ``got`` by those of the dense model."""
        with np.errstate(all="ignore"):
            for name, array in want.items():
                exact = array.astype(np.float64)
                self.wrong += float(np.square(got[name] - exact).sum())
                self.whole += float(np.square(exact).sum())
        if labels is not None:
            scores = next(iter(got.values()))
            if scores.ndim != 2 or labels.min() < 0 or labels.max() >= scores.shape[1]:
                raise InputError(f"labels up to {labels.max()} do not fit results of shape {scores.shape}")
            self.right += int((scores.argmax(axis=1) == labels).sum())
            self.count += len(labels)

    @property
    def error(self) -> float:
        """The relative error; infinite where results are no numbers."""
        if self.wrong == 0:
            return 0.0
        found = math.sqrt(self.wrong / self.whole) if self.whole > 0 else math.inf
        return found if math.isfinite(found) else math.inf

    @property
    def accuracy(self) -> float:
        return self.right / max(self.count, 1)


def _layers(graph: Graph, settings: Prune) -> tuple[list[Layer], dict[str, str]]:
    """The layers to measure, and why others are left out."""
    layers = prune_layers.layers(graph)
    kept = prune_layers.chosen(layers, settings.keep, words=True).values()
    stay = {layer.weight for found in kept for layer in found}
    layers = [layer for layer in layers if layer.weight not in stay]
    form = prune_patterns.PATTERNS[settings.pattern]
    skipped = {
        layer.name: why
        for layer in layers
        if (why := prune_patterns.obstacle(form, layer.shape, layer.groups))
    }
    return [layer for layer in layers if layer.name not in skipped], skipped


@dataclass(frozen=True)
class _Cut:
    """What changes with a layer's weight: ``head``, the nodes that read it and those between them, and more.

    ``outputs`` are the results of the graph that change, ``given`` the values that do not and are read.
    """

    layer: Layer
    head: frozenset[str]
    outputs: Mapping[str, str]
    given: frozenset[str]

    @classmethod
    def of(cls, graph: Graph, layer: Layer) -> _Cut:
        nodes = graph.nodes
        readers = {node.name for node in nodes if layer.weight in node.inputs}
        changed = _downstream(nodes, readers)
        changed_values = {v for n in nodes if n.name in changed for v in n.outputs}
        head = {n.name for n in nodes if n.name in changed} & _upstream(graph, nodes, readers)
        outputs = {k: v for k, v in graph.outputs.items() if v in changed_values}
        read = {v for n in nodes if n.name in changed for v in n.inputs if not graph.is_weight(v)}
        return cls(layer, frozenset(head), outputs, frozenset(read - changed_values))

    def head_of(self, graph: Graph) -> Graph:
        """The head in ``graph``, with every value that is read of it as a result."""
        made = {v for name in self.head for v in graph.node(name).outputs}
        read = {
            v for v in made if any(n.name not in self.head for n, _ in graph.readers(v)) or graph.is_output(v)
        }
        return cut(graph, {v: v for v in sorted(read)}, self.given)

    def tail_of(self, graph: Graph) -> Graph | None:
        """What lies behind the head, with its values as inputs; None where nothing does."""
        made = {v for name in self.head for v in graph.node(name).outputs}
        behind = {v: v for v in self.outputs.values() if v not in made}
        return cut(graph, behind, self.given | made) if behind else None


def _downstream(nodes: Iterable[Node], start: set[str]) -> set[str]:
    found, values = set[str](), set[str]()
    for node in nodes:
        if node.name in start or not values.isdisjoint(node.inputs):
            found.add(node.name)
            values.update(node.outputs)
    return found


def _upstream(graph: Graph, nodes: Sequence[Node], start: set[str]) -> set[str]:
    found, values = set[str](), set[str]()
    for node in reversed(nodes):
        if node.name in start or not values.isdisjoint(node.outputs):
            found.add(node.name)
            values.update(node.inputs)
    return found


class _Study:
    """Runs the dense model up to every cut, and from there on with other weights."""

    def __init__(self, graph: Graph, samples: Samples, make: Compile, cuts: Sequence[_Cut]) -> None:
        self.graph, self.make = graph, make
        given = set[str]().union(*(one.given for one in cuts)) - graph.inputs.keys()
        results = {v for v in graph.outputs.values() if graph.producer(v) is not None}
        wanted = sorted(given | results)
        self.chunks = list(_chunks(graph, samples, wanted))
        base = make(cut(graph, {v: v for v in wanted}))
        # One chunk is the rule; of more, only the last one's values stay in memory.
        self.base = lru_cache(1)(lambda i: {**self.chunks[i].inputs, **base(self.chunks[i].inputs)})

    def dense(self) -> Score:
        score = Score()
        for _, results, labels in self._each():
            score.add(results, results, labels)
        return score

    def scores(self, one: _Cut, pruned: Sequence[Graph]) -> list[Score]:
        """A score for each of ``pruned``, which differ from the graph in the weight of one layer."""
        if not one.outputs:  # a dead end
            return [self.dense() for _ in pruned]
        head, tail = one.head_of(self.graph), one.tail_of(self.graph)
        heads = [self.make(one.head_of(graph)) for graph in pruned]
        run = self.make(tail) if tail is not None else None
        scores = [Score() for _ in pruned]
        for values, want, labels in self._each():
            for score, first in zip(scores, heads, strict=True):
                got = dict(first({v: values[v] for v in head.inputs}))
                if tail is not None and run is not None:
                    known = values | got
                    got |= run({name: known[name] for name in tail.inputs})
                results = {k: got.get(self.graph.outputs[k], array) for k, array in want.items()}
                score.add(want, results, labels)
        return scores

    def _each(self) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray | None]]:
        """The dense model's values, its results and the labels, chunk by chunk."""
        for i, chunk in enumerate(self.chunks):
            values = self.base(i)
            results = {k: values[v] for k, v in self.graph.outputs.items() if v in values}
            yield values, results, chunk.labels


def _chunks(graph: Graph, samples: Samples, values: Iterable[str]) -> Iterator[Samples]:
    """The samples, as many at a time as the memory for ``values`` allows, or as a fixed batch asks for."""
    nbytes = sum(graph.type(v).nbytes() for v in values)
    step = fixed_batch(graph) or max(1, min(samples.count, MOST_BYTES // max(nbytes, 1)))
    for start in range(0, samples.count, step):
        yield samples.rows(slice(start, start + step))
