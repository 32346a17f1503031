"""What holds for every pass: documented, in a pipeline, pure, idempotent, true to its contract."""

from __future__ import annotations

import sys

import pytest
from golden_graphs import GRAPHS
from hypothesis import HealthCheck, given, settings
from pass_checks import apply, example
from strategies import Builder, graphs

from nbcnn import resources
from nbcnn.debug.verify import Verifier
from nbcnn.ir import Graph, text
from nbcnn.passes import PASSES, Contract, Lossy, Pass, Pipeline, Repeat, get, run

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def state(graph: Graph) -> tuple[str, dict[str, tuple[int, bytes]]]:
    """Everything that a pass might change in a graph by mistake."""
    return text.dump(graph), {k: (id(w), w.array.tobytes()) for k, w in graph.weights.items()}


@pytest.mark.parametrize("name", PASSES)
@quick
@given(graph=graphs("float64"))
def test_on_drawn_graphs(name, graph):
    """`apply` holds the pass to its contract, and a second run must change nothing."""
    before = state(graph)
    apply(example(name), graph)
    assert state(graph) == before


@pytest.mark.parametrize("name", PASSES)
def test_on_a_graph_that_it_rewrites(name):
    """As above, where the pass is sure to do something; each prefix of its rewrites too."""
    graph = GRAPHS[name](Builder("float64"))
    before = state(graph)
    _, record = apply(example(name), graph)
    for limit in range(1, len(record.rewrites)):
        _, part = apply(example(name), graph, limit)
        assert part.rewrites == record.rewrites[:limit]
    assert state(graph) == before


@pytest.mark.parametrize("name", PASSES)
def test_verify_finds_nothing(name):
    graph = GRAPHS[name](Builder())
    verifier = Verifier(graph)
    run(graph, [example(name)], hooks=[verifier])
    verifier.check()
    assert verifier.verdicts[0].note != "nothing changed"


@pytest.mark.parametrize("name", PASSES)
def test_it_says_what_it_does(name):
    cls = get(name)
    assert cls.name == name
    assert isinstance(cls.contract, Contract)
    assert cls.__doc__ and cls.__doc__.splitlines()[0].endswith((".", ";"))
    algebra = sys.modules[cls.__module__].__doc__
    assert algebra and len(algebra.splitlines()) > 2


def names(steps: tuple[Pass | Repeat, ...]) -> set[str]:
    return {n for s in steps for n in (names(s.passes) if isinstance(s, Repeat) else {s.name})}


def test_every_pass_is_in_a_shipped_pipeline_unless_it_is_lossy():
    used = set[str]().union(*(names(Pipeline.of(p).steps) for p in resources.names("passes")))
    lossy = {name for name in PASSES if isinstance(get(name).contract, Lossy)}
    assert used | lossy == set(PASSES)
    assert not lossy & (names(Pipeline.of("default").steps) | names(Pipeline.of("max").steps))
