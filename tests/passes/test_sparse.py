"""The pipeline `sparse`: prune, default, sparsify."""

from golden_graphs import GRAPHS
from strategies import Builder

import nbcnn
from nbcnn.ir import text
from nbcnn.passes import Pipeline, optimize, run


def test_what_it_makes_of_a_small_graph(golden):
    before = GRAPHS["prune"](Builder())
    report = run(before, Pipeline.of("sparse", {"sparsity": 0.75, "pattern": "1x4"}))
    notes = [f"{r.step.name}, at {x.node}: {x.what}\n" for r in report.records for x in r.rewrites]
    golden("pipelines/sparse.txt", f"{text.dump(report.graph)}\n{''.join(notes)}")


def test_it_prunes_only_when_asked_and_then_all_but_the_first_and_the_last():
    graph = nbcnn.load("resnet50")
    pipeline = Pipeline.of("sparse")
    assert str(pipeline.steps[0]) == "prune{sparsity=0.0}"
    pruned = optimize(graph, [Pipeline.of("sparse", {"sparsity": 0.9}).steps[0]])
    masks = {n: w.mask for n, w in pruned.weights.items() if w.mask is not None}
    convs = [n.weights[0] for n in graph.nodes if n.op.name == "conv2d"]
    assert list(masks) == convs[1:]
    for mask in masks.values():
        assert mask.size - mask.sum() == round(0.9 * mask.size)


def test_a_second_run_changes_nothing():
    graph = optimize(GRAPHS["prune"](Builder()), Pipeline.of("sparse", {"sparsity": 0.75}))
    assert optimize(graph, Pipeline.of("sparse")) is graph
