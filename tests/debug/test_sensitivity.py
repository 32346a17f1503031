from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import Builder, graphs

from nbcnn import reference
from nbcnn.debug import sensitivity
from nbcnn.debug.samples import Samples, read
from nbcnn.debug.sensitivity import Score, joint, measure, pruned_alone
from nbcnn.errors import InputError, OptionError
from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten
from nbcnn.passes import Pipeline, optimize
from nbcnn.passes.prune import Prune

EVERY = Prune(0.5, keep=())


def by_reference(graph: Graph):
    return partial(reference.run, graph)


def residual() -> Graph:
    """A block with a residual: a, b and c in a row, d beside them; then a dense layer."""
    build = Builder()
    x = build("a", Conv2d(8, 3, padding="same"), build.input(4, 6, 6))
    y = build("c", Conv2d(8, 1), build("ra", Relu(), build("b", Conv2d(8, 3, padding="same"), x)))
    x = build("sum", Add(), y, build("d", Conv2d(8, 1), x))
    return build.graph(build("fc", Dense(5), build("flat", Flatten(), build("mean", GlobalAvgPool(), x))))


@pytest.mark.parametrize("compile_", [by_reference, sensitivity.compiled(1)])
def test_each_error_is_that_of_the_model_pruned_there_alone(compile_):
    graph = residual()
    samples = read(graph, None, 3)
    found = measure(graph, samples, [0.9, 0.5], settings=EVERY, compile_=compile_)
    assert [entry.layer.name for entry in found.entries] == ["a", "b", "c", "d", "fc"]
    assert (found.shares, found.samples, found.accuracy) == ((0.5, 0.9), 3, None)
    for entry in found.entries:
        assert entry.macs == graph.work(graph.node(entry.layer.name)).macs
        for share, error in zip(found.shares, entry.errors, strict=True):
            pruned = pruned_alone(graph, entry.layer, share, EVERY)
            assert joint(graph, pruned, samples, by_reference).error == pytest.approx(error, rel=1e-4)
            assert error > 0
        assert entry.errors[0] < entry.errors[1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs("float64"))
def test_on_drawn_graphs(graph):
    """Several outputs, dead ends, shared values: the same errors as without sharing anything."""
    samples = read(graph, None, 2)
    found = measure(graph, samples, [0.6], settings=EVERY, compile_=by_reference)
    for entry in found.entries:
        whole = joint(graph, pruned_alone(graph, entry.layer, 0.6, EVERY), samples, by_reference)
        assert entry.errors == pytest.approx((whole.error,), rel=1e-9, abs=1e-15)


def test_only_what_lies_downstream_runs_again():
    graph = residual()
    made: list[set[str]] = []

    def recording(part: Graph):
        made.append({node.name for node in part.nodes})
        return by_reference(part)

    measure(graph, read(graph, None, 2), [0.5, 0.8], settings=EVERY, compile_=recording)
    head = {"sum", "mean", "flat", "fc"}
    assert made[0] == {node.name for node in graph.nodes}  # the dense model, once
    # For every layer itself, with each of its weights, and what lies behind it, once; behind fc is nothing.
    behind = {"a": {"b", "ra", "c", "d"} | head, "b": {"ra", "c"} | head, "c": head, "d": head}
    assert made[1:] == [part for x in "abcd" for part in ({x}, {x}, behind[x])] + [{"fc"}, {"fc"}]


def test_a_weight_that_two_layers_in_a_row_share():
    build = Builder()
    x = build("a", Conv2d(4, 3, padding="same"), build.input(4, 6, 6))
    x = build("r", Relu(), x)
    graph = build.graph(build("last", Relu(), build("b", Conv2d(4, 3, padding="same"), x, weight="a.weight")))
    samples = read(graph, None, 2)
    found = measure(graph, samples, [0.5], settings=EVERY, compile_=by_reference)
    (entry,) = found.entries
    assert entry.layer.names == ("a", "b")
    whole = joint(graph, optimize(graph, [EVERY]), samples, by_reference)
    assert entry.errors == pytest.approx((whole.error,))


def test_samples_go_through_in_chunks(monkeypatch):
    graph = residual()
    samples = read(graph, None, 7)
    want = measure(graph, samples, [0.8], settings=EVERY, compile_=by_reference)
    sizes = []

    def recording(part: Graph):
        def run(inputs):
            sizes.append(len(next(iter(inputs.values()))))
            return reference.run(part, inputs)

        return run

    monkeypatch.setattr(sensitivity, "MOST_BYTES", 4 * 8 * 36 * 4 * 3)
    got = measure(graph, samples, [0.8], settings=EVERY, compile_=recording)
    assert max(sizes) < 7
    for a, b in zip(got.entries, want.entries, strict=True):
        assert a.errors == pytest.approx(b.errors, rel=1e-6)


def test_accuracy_where_there_are_labels():
    graph = residual()
    samples = read(graph, None, 6)
    scores = reference.run(graph, samples.inputs)["fc"]
    right = Samples(samples.inputs, scores.argmax(axis=1))
    found = measure(graph, right, [0.5, 0.95], settings=EVERY, compile_=by_reference)
    assert found.accuracy == 1.0
    for entry in found.entries:
        pruned = pruned_alone(graph, entry.layer, 0.95, EVERY)
        hits = reference.run(pruned, samples.inputs)["fc"].argmax(axis=1) == right.labels
        assert entry.accuracy[1] == hits.mean()
    with pytest.raises(InputError, match="labels up to 5 do not fit results of shape"):
        measure(graph, Samples(samples.inputs, np.full(6, 5)), [0.5], compile_=by_reference)


def test_what_the_pattern_does_not_fit_is_left_out_and_told():
    graph = residual()
    found = measure(
        graph, read(graph, None, 1), settings=Prune(pattern="2:4", keep=("d",)), compile_=by_reference
    )
    assert found.shares == (0.5,)
    assert [entry.layer.name for entry in found.entries] == ["a", "b", "c", "fc"]
    found = measure(
        graph, read(graph, None, 1), [0.5], settings=Prune(0.5, pattern="1x8", keep=()), compile_=by_reference
    )
    assert found.skipped == {"fc": "1x8 needs a multiple of 8 output channels, it has 5"}


@pytest.mark.parametrize("shares", [[], [0.0], [1.0], [0.5, -0.1], [float("nan")]])
def test_shares_that_make_no_sense(shares):
    graph = residual()
    with pytest.raises(OptionError, match="shares must be above 0 and below 1"):
        measure(graph, read(graph, None, 1), shares, compile_=by_reference)
    with pytest.raises(OptionError, match=r"shares must be 0\.5 for 2:4"):
        measure(graph, read(graph, None, 1), [0.6], settings=Prune(pattern="2:4"), compile_=by_reference)


def test_the_spec_prunes_these_layers_alone():
    graph = residual()
    settings_ = Prune(0.5, pattern="1x4", criterion="random", seed=4, distribution="erk", keep=())
    found = measure(graph, read(graph, None, 1), [0.5], settings=settings_, compile_=by_reference)
    spec = found.spec({"b": 0.75, "d": 0.5})
    after = optimize(graph, Pipeline.of(str(spec)))
    assert {n for n, w in after.weights.items() if w.mask is not None} == {"b.weight", "d.weight"}
    assert after.weight("b.weight").mask.mean() == 0.25
    with pytest.raises(OptionError, match="nothing is to be pruned"):
        found.spec({})


def test_score():
    score = Score()
    assert score.error == 0
    score.add({"y": np.array([[3.0, 4.0]])}, {"y": np.array([[3.0, 3.0]])}, None)
    assert score.error == pytest.approx(0.2)
    score.add({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[np.nan, 2.0]])}, None)
    assert score.error == np.inf
    lone = Score()
    lone.add({"y": np.zeros((1, 2))}, {"y": np.ones((1, 2))}, None)
    assert lone.error == np.inf
