"""What every pass makes of a small graph, word by word; `pytest --update-golden` writes the files anew."""

from __future__ import annotations

import pytest
from golden_graphs import GRAPHS
from pass_checks import example
from strategies import Builder

from nbcnn.ir import text
from nbcnn.passes import PASSES, run


@pytest.mark.parametrize("name", PASSES)
def test_before_and_after(name, golden):
    assert name in GRAPHS, "the pass needs a graph in tests/passes/golden_graphs.py"
    before = GRAPHS[name](Builder())
    report = run(before, [example(name)])
    record = report.records[0]
    assert record.rewrites, "the graph should have a place that the pass rewrites"
    notes = [f"rewrite {r.number} at {r.node}: {r.what}\n" for r in record.rewrites]
    notes += [f"near miss at {r.node}: {r.why}\n" for r in record.refusals]
    sections = {
        "before": text.dump(before),
        "after": text.dump(report.graph),
        "changes": text.diff(before, report.graph),
        "notes": "".join(notes),
    }
    golden(f"passes/{name}.txt", "\n".join(f"# {key}\n{value}" for key, value in sections.items()))
