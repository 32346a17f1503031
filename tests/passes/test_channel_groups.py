"""The graph without some units computes what the graph does where these channels are zero in every value."""

import numpy as np
import pytest
from channel_graphs import channel_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Builder, arrays, graphs

from nbcnn import reference
from nbcnn.ir import Graph, Rewriter, verify
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import GlobalAvgPool, MaxPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.softmax import Softmax
from nbcnn.ops.transpose import Transpose
from nbcnn.passes import channel_cuts, channel_groups
from nbcnn.passes.channel_groups import Channels


def masked(graph: Graph, channels: Channels, gone: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of ``graph``, computed with the channels ``gone`` set to zero wherever they stand."""
    values = dict(arrays(graph)) | {name: weight.array for name, weight in graph.weights.items()}
    for node in graph.nodes:
        results = node.op.reference(*(values[v] for v in node.inputs))
        for value, result in zip(node.outputs, results, strict=True):
            values[value] = result.copy()
            if value in channels.units:
                values[value][:, gone[channels.units[value]]] = 0
    return values


def check(graph: Graph, channels: Channels, gone: np.ndarray) -> Graph:
    """Cut, and compare every value that is left, and the sizes that were promised."""
    want = masked(graph, channels, gone)
    size = channel_cuts.Sizes(graph, channels)
    rw = Rewriter(graph)
    rw.begin("test", "cut")
    channel_cuts.cut(rw, channels, gone)
    after = rw.graph
    verify(after)
    assert (after.parameters, after.macs) == (size.parameters(gone), size.macs(gone))
    got: dict[str, np.ndarray] = {}
    for node, _, results in reference.values(after, arrays(after)):
        got.update(zip(node.outputs, results, strict=True))
    for name, array in got.items():
        old = name.removesuffix(".live")
        if old in channels.units:
            kept = ~gone[channels.units[old]]
            assert kept.all() or old != name
            np.testing.assert_allclose(array, want[old][:, kept], rtol=1e-9, atol=1e-11, err_msg=name)
    for name, value in graph.outputs.items():
        np.testing.assert_allclose(got[after.outputs[name]], want[value], rtol=1e-9, atol=1e-11)
    assert {n.op.name for n in after.nodes} == {n.op.name for n in graph.nodes}
    return after


@settings(max_examples=250, deadline=None)
@given(channel_graphs(), st.data())
def test_any_free_units_of_any_graph(graph, data):
    channels = channel_groups.of(graph)
    share = data.draw(st.sampled_from((0.2, 0.5, 0.9)))
    drawn = np.random.default_rng(data.draw(st.integers(0, 999))).random(len(channels.group))
    gone = channels.spare((drawn < share) & channels.free, drawn)
    check(graph, channels, gone)


@settings(max_examples=100, deadline=None)
@given(graphs("float64", most=10), st.integers(0, 999))
def test_any_graph_of_any_operators(graph, seed):
    channels = channel_groups.of(graph)
    drawn = np.random.default_rng(seed).random(len(channels.group))
    check(graph, channels, channels.spare((drawn < 0.5) & channels.free, drawn))


def units(graph: Graph) -> dict[str, list[int]]:
    return {value: numbers.tolist() for value, numbers in channel_groups.of(graph).units.items()}


def test_additions_join_and_concatenations_line_up():
    b = Builder()
    x = b.input(3, 6, 6)
    left, right = b("left", Conv2d(2, 1), x), b("right", Conv2d(3, 1), x)
    both = b("sum", Add(), b("cat", Concat(), left, right), b("wide", Conv2d(5, 1), x))
    found = units(b.graph(b("last", Conv2d(1, 1), both)))
    assert found["cat"] == found["left"] + found["right"] == found["wide"] == found["sum"]


def test_the_groups_of_a_convolution_stay_of_one_size():
    b = Builder()
    y = b("grouped", Conv2d(9, 1, groups=3), b("conv", Conv2d(6, 1), b.input(3, 4, 4)))
    found = units(b.graph(b("last", Conv2d(1, 1), y)))
    assert found["conv"] == found["conv"][:2] * 3
    assert found["grouped"] == found["grouped"][:3] * 3


def test_a_flattened_channel_is_many_features():
    b = Builder()
    x = b("flat", Flatten(), b("conv", Conv2d(2, 1), b.input(3, 2, 2)))
    found = units(b.graph(b("fc", Dense(4), x)))
    assert found["flat"] == [u for u in found["conv"] for _ in range(4)]


def test_features_become_planes():
    b = Builder("float64")
    x = b("planes", Reshape((0, 3, 2, 2)), b("fc", Dense(12), b.input(5)))
    graph = b.graph(b("last", Conv2d(2, 1), x))
    channels = channel_groups.of(graph)
    assert channels.units["fc"].tolist() == np.repeat(channels.units["planes"], 4).tolist()
    gone = np.zeros(len(channels.group), bool)
    gone[channels.units["planes"][1]] = True
    after = check(graph, channels, gone)
    assert after.node("planes.live").op == Reshape((0, 2, 2, 2))


def test_squeeze_and_excitation_is_one_group():
    b = Builder()
    x = b("conv", Conv2d(4, 1), b.input(3, 4, 4))
    gate = b("fc", Dense(4), b("flat", Flatten(), b("mean", GlobalAvgPool(), x)))
    gate = b("back", Reshape((0, 4, 1, 1)), gate)
    found = units(b.graph(b("last", Conv2d(1, 1), b("mul", Mul(), x, gate))))
    assert found["fc"] == found["conv"] == found["mul"]


@pytest.mark.parametrize(
    "tail, why",
    [
        (lambda b, x: b("soft", Softmax(1), x), "'soft' (softmax) needs them all"),
        (lambda b, x: b("turn", Transpose((0, 2, 1, 3)), x), "'turn' (transpose) needs them all"),
        (lambda b, x: b("mean", ReduceMean((1,)), x), "'mean' (reduce_mean) needs them all"),
        (lambda b, x: b("shuffle", Reshape((0, 2, 2, 4, 4)), x), "'shuffle' (reshape) needs them all"),
        (lambda b, x: b("pad", Pad((1, -1), axes=(1,)), x), "'pad' (pad) needs them all"),
        (lambda b, x: b("act", Relu(), x), "'act' is an output of the graph"),
        (lambda b, x: b("sum", Add(), x, "x"), "'x' is an input of the graph"),
        (lambda b, x: b("pool", MaxPool(2), x), "'pool' is an output of the graph"),
    ],
)
def test_what_locks_channels(tail, why):
    b = Builder()
    x = b("conv", Conv2d(4, 1), b.input(4, 4, 4))
    channels = channel_groups.of(b.graph(tail(b, x)))
    assert {channels.locked.get(unit) for unit in channels.units["conv"].tolist()} == {why}


def test_one_channel_for_all():
    b = Builder()
    x = b.input(3, 4, 4)
    y = b("mul", Mul(), b("conv", Conv2d(4, 1), x), b("one", Conv2d(1, 1), x))
    channels = channel_groups.of(b.graph(b("last", Conv2d(1, 1), y)))
    (unit,) = channels.units["one"].tolist()
    assert channels.locked == {**channels.locked, unit: "'mul' (mul) spreads it over channels"}
    assert channels.free[channels.units["conv"]].all()


def test_a_shared_weight_stays_shared_where_both_cut_it_alike():
    b = Builder("float64")
    x = b("first", Conv2d(4, 1), b.input(3, 4, 4))
    b.weight("shared", b.rng.normal(size=(4, 4, 1, 1)))
    b.weight("offset", b.rng.normal(size=4))
    y = b("again", Add(), b("twin", Conv2d(4, 1), x, weight="shared", bias="offset"), x)
    z = b("other", Conv2d(4, 1), y, weight="shared", bias="offset")
    graph = b.graph(b("last", Conv2d(2, 1), b("sum", Add(), z, y)))
    channels = channel_groups.of(graph)
    gone = np.zeros(len(channels.group), bool)
    gone[channels.units["first"][2]] = True
    after = check(graph, channels, gone)
    assert after.node("twin.live").weights == after.node("other.live").weights
