import re

import numpy as np
import pytest
from channel_graphs import channel_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import refusals
from strategies import Builder, arrays

import nbcnn
from nbcnn import reference
from nbcnn.errors import OptionError, PassError
from nbcnn.ir import Graph, verify
from nbcnn.ir.summary import layers
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten
from nbcnn.ops.softmax import Softmax
from nbcnn.passes import Pipeline, run
from nbcnn.passes.prune_channels import PruneChannels
from nbcnn.passes.runner import Record


def pruned(graph: Graph, limit: int | None = None, **options) -> tuple[Graph, Record]:
    report = run(graph, [PruneChannels(**options)], limit=limit)
    return report.graph, report.records[0]


def channels(graph: Graph) -> dict[str, int]:
    return {n.name: n.op.channels for n in graph.nodes if hasattr(n.op, "channels")}


def chain(*widths: int) -> Builder:
    """Convolutions of so many channels, each normalised and activated, then a dense layer."""
    build = Builder("float64")
    x = build.input(3, 6, 6)
    for i, width in enumerate(widths):
        x = build(f"conv{i}", Conv2d(width, 3, padding=1, bias=False), x)
        x = build(f"act{i}", Relu(), build(f"norm{i}", BatchNorm(), x))
    build("fc", Dense(10), build("flat", Flatten(), build("mean", GlobalAvgPool(), x)))
    return build


def test_the_smallest_filters_go():
    build = chain(16, 8)
    scale = np.ones((16, 1, 1, 1))
    scale[[1, 4, 5, 6, 9, 11, 13, 15]] = 0.01
    build.weight("conv0.weight", build.weights["conv0.weight"].array * scale)
    graph = build.graph("fc")
    after, record = pruned(graph, ratio=0.5)
    assert channels(after) == {"conv0.live": 8, "conv1": 8, "fc": 10}
    kept = np.flatnonzero(scale.ravel() == 1)
    np.testing.assert_array_equal(
        after.weight("conv0.live_weight").array, graph.weight("conv0.weight").array[kept]
    )
    np.testing.assert_array_equal(
        after.weight("conv1.live_weight").array, graph.weight("conv1.weight").array[:, kept]
    )
    assert after.weight("norm0.live_running_var").type.shape == (8,)
    assert refusals(record) == {"fc": "'fc' is an output of the graph"}


def test_l1_and_l2_disagree():
    build = Builder()
    x = build("conv", Conv2d(2, 1), build.input(4, 3, 3))
    weight = np.array([[0.9, 0, 0, 0], [0.4, 0.4, 0.4, 0.4]]).reshape(2, 4, 1, 1)
    build.weight("conv.weight", weight)  # l1: 0.9 and 1.6, l2: 0.9 and 0.8
    graph = build.graph(build("last", Conv2d(1, 1), x))
    for criterion, row in (("l1", 1), ("l2", 0)):
        after, _ = pruned(graph, ratio=0.5, round_to=1, criterion=criterion)
        np.testing.assert_array_equal(after.weight("conv.live_weight").array, weight[[row]].astype("f4"))


@pytest.mark.parametrize("ratio, round_to, left", [
    (0.5, 8, (16, 16)), (0.5, 1, (12, 10)), (0.9, 8, (8, 8)), (0.99, 1, (1, 1)), (0.0, 8, (24, 20)),
    (0.3, 16, (24, 16)),
])  # fmt: skip
def test_groups_keep_whole_vectors(ratio, round_to, left):
    after, _ = pruned(chain(24, 20).graph("fc"), ratio=ratio, round_to=round_to)
    assert tuple(channels(after).values())[:2] == left


def test_global_takes_the_lowest_scores_of_all():
    build = chain(16, 16)
    rng = np.random.default_rng(0)
    scale = np.repeat([1, 1e-3], 8).reshape(-1, 1, 1, 1)
    build.weight("conv0.weight", rng.normal(size=(16, 3, 3, 3)) * scale)
    build.weight("conv1.weight", np.ones((16, 16, 3, 3)))
    graph = build.graph("fc")
    for distribution, left in (("global", [8, 16, 10]), ("uniform", [12, 12, 10])):
        after, _ = pruned(graph, ratio=0.25, distribution=distribution, round_to=1)
        assert list(channels(after).values()) == left


@pytest.mark.parametrize("distribution", ["uniform", "global"])
@pytest.mark.parametrize("macs", [0.25, 0.5, 0.9, 1.0])
def test_macs_reach_their_target_and_stay_near(macs, distribution):
    graph = chain(64, 64, 128).graph("fc")
    after, _ = pruned(graph, macs=macs, distribution=distribution)
    assert macs * 0.8 <= after.macs / graph.macs <= macs


def test_what_is_kept():
    graph = chain(16, 16, 16).graph("fc")
    after, record = pruned(graph, ratio=0.5, keep=("first", "conv2"))
    assert list(channels(after).values()) == [16, 8, 16, 10]
    assert refusals(record)["conv2"] == "'conv2' is to be kept"
    after, _ = pruned(graph, ratio=0.5, keep=("conv*",))
    assert after is graph


def test_a_residual_stage_goes_together():
    build = Builder("float64")
    x = build("stem", Conv2d(16, 1), build.input(3, 4, 4))
    for i in range(2):
        y = build(f"inner{i}", Conv2d(16, 3, padding=1), x)
        x = build(f"sum{i}", Add(), build(f"outer{i}", Conv2d(16, 1), y), x)
    graph = build.graph(build("last", Conv2d(2, 1), x))
    after, record = pruned(graph, ratio=0.5)
    assert set(channels(after).values()) == {8, 2}
    assert [r.node for r in record.rewrites] == ["stem", "inner0", "inner1"]


def test_each_prefix_of_the_rewrites_is_a_whole_graph_with_the_sizes_it_says():
    graph = chain(16, 24, 16).graph("fc")
    _, record = pruned(graph, ratio=0.5)
    assert len(record.rewrites) == 3
    for limit in (1, 2, 3):
        after, part = pruned(graph, limit, ratio=0.5)
        assert part.rewrites == record.rewrites[:limit]
        assert sizes(part) == [graph.parameters, graph.macs, after.parameters, after.macs]


def sizes(record: Record) -> list[int]:
    """Parameters and MACs before all rewrites and after them, as these say."""
    pattern = re.compile(r"[\d,]+(?= parameters| MACs)")
    first, last = (pattern.findall(record.rewrites[i].what) for i in (0, -1))
    return [int(number.replace(",", "")) for number in first[:2] + last[2:]]


@settings(max_examples=100, deadline=None)
@given(channel_graphs(), st.booleans(), st.sampled_from((1, 2, 8)), st.sampled_from(("uniform", "global")))
def test_any_graph(graph, by_macs, round_to, distribution):
    target = {"macs": 0.6} if by_macs else {"ratio": 0.5}
    try:
        after, record = pruned(graph, round_to=round_to, distribution=distribution, **target)
    except OptionError as error:
        if "out of reach" not in str(error):
            raise
        return
    verify(after)
    if record.rewrites:
        assert sizes(record) == [graph.parameters, graph.macs, after.parameters, after.macs]
        assert (record.after.parameters, record.after.macs) == (after.parameters, after.macs)
        rows = layers(after)
        assert (sum(r.parameters for r in rows), sum(r.macs for r in rows)) == (after.parameters, after.macs)
        assert after.parameters < graph.parameters
    got, want = (reference.run(g, arrays(graph), np.float64) for g in (after, graph))
    assert {k: y.shape for k, y in got.items()} == {k: y.shape for k, y in want.items()}


def test_a_refused_group_says_why():
    build = chain(16, 16)
    build("soft", Softmax(1), "act0")
    after, record = pruned(build.graph("fc", "soft"), ratio=0.5)
    assert refusals(record)["conv0"] == "'soft' (softmax) needs them all"
    assert list(channels(after).values()) == [16, 8, 10]


def test_weights_that_are_no_numbers_stay():
    build = chain(16)
    build.weight("conv0.weight", np.full((16, 3, 3, 3), np.nan))
    graph = build.graph("fc")
    after, record = pruned(graph, ratio=0.5)
    assert after is graph
    assert refusals(record)["conv0"] == "a filter is not finite"


@pytest.mark.parametrize(
    "options, why",
    [
        ({}, "needs one of the options 'ratio' and 'macs'"),
        ({"ratio": 0.5, "macs": 0.5}, "needs one of the options 'ratio' and 'macs'"),
        ({"ratio": 1.0}, "option 'ratio': must be from 0 to below 1, got 1.0"),
        ({"ratio": float("nan")}, "option 'ratio': must be from 0 to below 1, got nan"),
        ({"macs": 0.0}, "option 'macs': must be above 0, up to 1, got 0.0"),
        ({"ratio": 0.5, "criterion": "l3"}, "option 'criterion': unknown 'l3'"),
        ({"ratio": 0.5, "distribution": "globall"}, "did you mean 'global'"),
        ({"ratio": 0.5, "round_to": 0}, "option 'round_to': must be at least 1, got 0"),
    ],
)
def test_bad_options(options, why):
    with pytest.raises(PassError, match=re.escape(why)):
        PruneChannels(**options)


def test_options_that_do_not_fit_the_graph():
    graph = chain(16).graph("fc")
    with pytest.raises(OptionError, match="dense layer is called 'conv9'"):
        pruned(graph, ratio=0.5, keep=("conv9",))
    with pytest.raises(OptionError, match=r"macs=0\.01 is out of reach: 0\.\d+ of them stay at least"):
        pruned(graph, macs=0.01)


def test_the_pipeline_halves_a_network():
    graph = nbcnn.load("resnet18")
    report = run(graph, Pipeline.of("channels"))
    assert 0.48 < report.records[0].after.macs / graph.macs <= 0.5
    assert 0.48 < report.graph.macs / graph.macs <= 0.5
    assert report.graph.parameters < 0.6 * graph.parameters
    assert refusals(report.records[0]) == {"fc": "'fc' is an output of the graph"}
