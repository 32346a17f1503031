"""What every test of a pass needs: the same numbers before and after, and the second run a no-op."""

from __future__ import annotations

import numpy as np
from strategies import arrays

from nbcnn import reference
from nbcnn.ir import Graph, verify
from nbcnn.passes import EXACT, Lossy, Pass, Pipeline, Record, get, run


def every_value(graph: Graph, dtype: type[np.floating] | None = None) -> dict[str, np.ndarray]:
    """Every value that a node makes, those inside fused nodes too."""
    found: dict[str, np.ndarray] = {}
    for node, operands, results in reference.values(graph, arrays(graph), dtype):
        if node.op.name == "fused":
            inside = node.op.values(*operands)
            found.update({v: inside[v] for n in node.op.body.nodes for v in n.outputs})
        found.update(zip(node.outputs, results, strict=True))
    return found


def same_values(before: Graph, after: Graph, tolerance: float) -> None:
    """Values of one name agree (0: bit by bit, in the graph's own dtype), and so do the results.

    ``tolerance`` is relative to the largest element.
    """
    dtype = np.float64 if tolerance else None
    old, new = every_value(before, dtype), every_value(after, dtype)
    results = (reference.run(before, arrays(before), dtype), reference.run(after, arrays(after), dtype))
    pairs = [(name, old[name], new[name]) for name in old.keys() & new.keys()]
    pairs += [(name, results[0][name], results[1][name]) for name in before.outputs]
    assert before.outputs.keys() == after.outputs.keys()
    for name, a, b in pairs:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = (v.astype(np.float64) for v in (a, b))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        scale = max(float(np.nanmax(abs(a), initial=0)), 1e-30)
        error = float(np.where(same, 0, abs(a - b)).max(initial=0)) / scale
        assert error <= tolerance, f"{name}: {error:.2e}"


def apply(pass_: Pass, graph: Graph, limit: int | None = None) -> tuple[Graph, Record]:
    """Run one pass and hold it to its contract; float64 graphs are held to float64's rounding."""
    before = (graph.nodes, dict(graph.weights), dict(graph.outputs))
    report = run(graph, [pass_], limit=limit)
    after = report.graph
    assert (graph.nodes, dict(graph.weights), dict(graph.outputs)) == before, "the input was changed"
    verify(after)
    float64 = all(t.dtype == "float64" for t in graph.inputs.values())
    exact, lossy = pass_.contract == EXACT, isinstance(pass_.contract, Lossy)  # lossy: shapes and dtypes only
    same_values(graph, after, np.inf if lossy else 0 if exact else 1e-12 if float64 else 1e-6)
    if limit is None:
        assert run(after, [pass_]).graph is after, "a second run changed something"
    (record,) = report.records or [None]
    return after, record


def example(name: str) -> Pass:
    """The pass called ``name``, with options where it needs some."""
    return get(name).of(_NEEDED.get(name, {}))


_NEEDED = {
    "prune": {"sparsity": 0.4, "keep": []},
    "prune-channels": {"ratio": 0.9},
    "swap-activation": {"old": "relu", "new": "silu"},
}


def refusals(record: Record) -> dict[str, str]:
    """Why, by node."""
    return {r.node: r.why for r in record.refusals}


def optimized(graph: Graph, passes: object = "default") -> Graph:
    return run(graph, Pipeline.of(passes)).graph
