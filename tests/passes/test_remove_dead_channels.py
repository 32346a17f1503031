import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, optimized, refusals, same_values
from strategies import ACTIVATIONS, Builder, every_op, graphs

from nbcnn.ir import Graph, Weight
from nbcnn.ops.activation import Relu, Sigmoid
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.piecewise import Shrink, ThresholdedRelu
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.softmax import Softmax
from nbcnn.ops.unit_axes import Unsqueeze
from nbcnn.passes import optimize
from nbcnn.passes.prune_channels import PruneChannels
from nbcnn.passes.remove_dead_channels import RemoveDeadChannels


class Pruned(Builder):
    """Draws weights; `kill` sets parts of them to zero."""

    def kill(self, name: str, *index) -> None:
        array = self.weights[name].array.copy()
        array[index] = 0
        self.weight(name, array)


def nodes(graph: Graph) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(n.name, n.op.name, n.inputs) for n in graph.nodes]


def shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [w.type.shape for w in graph.weights.values()]


@pytest.mark.parametrize("made", [True, False], ids=["zeros are made", "nothing reads them"])
def test_both_sides_of_a_chain(made):
    build = Pruned()
    x = build("pool", MaxPool(2), build("act", Relu(), build("conv1", Conv2d(6, 3), build.input(3, 8, 8))))
    graph = build.graph(build("conv2", Conv2d(4, 3, padding=1), x))
    if made:
        build.kill("conv1.weight", [1, 4])
        build.kill("conv1.bias", [1, 4])
    else:
        build.kill("conv2.weight", slice(None), [1, 4])
    after, record = apply(RemoveDeadChannels(), build.graph("conv2"))
    assert nodes(after) == [
        ("conv1.live", "conv2d", ("x", "conv1.live_weight", "conv1.live_bias")),
        ("act.live", "relu", ("conv1.live",)),
        ("pool.live", "max_pool", ("act.live",)),
        ("conv2", "conv2d", ("pool.live", "conv2.live_weight", "conv2.bias")),
    ]
    assert [r.what for r in record.rewrites] == ["2 of 6 channels are dead"]
    assert after.weight("conv2.live_weight").type.shape == (4, 4, 3, 3)
    assert after.macs < graph.macs
    assert apply(RemoveDeadChannels(), graph)[0] is graph


def test_along_depthwise_norm_and_several_readers():
    build = Pruned("float64")
    x = build("conv1", Conv2d(6, 1, bias=False), build.input(3, 6, 6))
    x = build("bn", BatchNorm(), build("depth", Conv2d(6, 3, padding=1, groups=6), x))
    a = build("a", Conv2d(2, 1), build("drop", Dropout(), x))
    b = build("b", Dense(3), build("flat", Flatten(), build("gap", GlobalAvgPool(), x)))
    build.kill("depth.weight", 2)
    build.kill("depth.bias", 2)
    build.kill("bn.bias", 2)
    build.kill("bn.running_mean", 2)  # channel 2 is zero behind the norm
    build.kill("a.weight", slice(None), [0, 3])
    build.kill("b.weight", slice(None), [0, 5])  # nobody reads channel 0, somebody 3 and 5
    after, record = apply(RemoveDeadChannels(), build.graph(a, b))
    assert [r.what for r in record.rewrites] == ["2 of 6 channels are dead"]
    assert after.node("depth.live").op == Conv2d(4, 3, padding=1, groups=4)
    assert after.node("b").op == Dense(3)


def test_a_flattened_image():
    build = Pruned()
    x = build("conv", Conv2d(5, 3), build.input(2, 5, 5))
    x = build("fc", Dense(4), build("act", Relu(), build("flat", Flatten(), x)))
    build.kill("conv.weight", 3)
    build.kill("conv.bias", 3)
    after, _ = apply(RemoveDeadChannels(), build.graph(build("fc2", Dense(2), x)))
    assert after.weight("fc.live_weight").type.shape == (4, 4 * 9)


def test_what_goes_lets_more_go():
    build = Pruned()
    x = build("act1", Relu(), build("conv1", Conv2d(4, 1), build.input(3, 5, 5)))
    x = build("act2", Relu(), build("conv2", Conv2d(4, 1), x))
    build("conv3", Conv2d(2, 1), x)
    build.kill("conv3.weight", slice(None), [0, 1])
    for row in (2, 3):
        build.kill("conv2.weight", row, [0, 1])  # of conv1 only what the dead filters 0 and 1 read is needed
    after, record = apply(RemoveDeadChannels(), build.graph("conv3"))
    assert [r.node for r in record.rewrites] == ["conv2", "conv1"]
    assert after.node("conv1.live").op == Conv2d(2, 1)

    build = Pruned()
    x = build("conv2", Conv2d(4, 1), build("conv1", Conv2d(4, 1), build.input(3, 5, 5)))
    build("conv3", Conv2d(2, 1), x)
    build.kill("conv1.weight", 0)
    build.kill("conv1.bias", 0)
    build.kill("conv2.weight", 1, [1, 2, 3])  # filter 1 sees the dead channel 0 alone
    build.kill("conv2.bias", 1)
    after, record = apply(RemoveDeadChannels(), build.graph("conv3"))
    assert [r.node for r in record.rewrites] == ["conv1", "conv2"]
    assert [n.op.channels for n in after.nodes] == [3, 3, 2]


def test_masks_are_cut_and_the_last_channel_stays():
    build = Pruned()
    mask = np.ones((3, 2, 1, 1), bool)
    mask[1:] = False
    w = build.weight("w", build.rng.normal(size=mask.shape), mask)
    x = build("conv1", Conv2d(3, 1, bias=False), build.input(2, 4, 4), weight=w)
    after, _ = apply(RemoveDeadChannels(), build.graph(build("conv2", Conv2d(2, 1), x)))
    np.testing.assert_array_equal(after.weight("conv1.live_weight").mask, mask[:1])
    build.kill("conv2.weight", slice(None))
    after, _ = apply(RemoveDeadChannels(), build.graph("conv2"))
    assert after.nodes[0].op == Conv2d(1, 1, bias=False)


def dead(build: Pruned, op: Conv2d, x: str) -> str:
    y = build("dead", op, x)
    build.kill("dead.weight", 1)
    build.kill("dead.bias", 1)
    return y


def test_along_additions_concatenations_splits_and_groups():
    build = Pruned("float64")
    x = build.input(3, 6, 6)
    a = build("act", Relu(), build("sum", Add(), dead(build, Conv2d(4, 1), x), build("b", Conv2d(4, 1), x)))
    build.kill("b.weight", [1, 3])
    build.kill("b.bias", [1, 3])  # of the sum, 1 is zero in both operands
    c = build("cat", Concat(), a, build("c", Conv2d(2, 1), x))
    grouped = build("grouped", Conv2d(6, 3, padding=1, groups=2), c)
    _, record = apply(RemoveDeadChannels(), build.graph(build("last", Conv2d(2, 1), grouped)))
    assert not record.rewrites  # channel 4, in the other group, is needed

    build.kill("c.weight", 0)
    build.kill("c.bias", 0)  # now channels 1 and 4, at one place of the two groups, are dead
    graph = build.graph("last")
    after, record = apply(RemoveDeadChannels(), graph)
    assert [(r.node, r.what) for r in record.rewrites] == [("c", "1 of 2 channels are dead")]
    assert [type_.shape for type_ in (after.type("sum.live"), after.type("cat.live"))] == [
        ("N", 3, 6, 6),
        ("N", 4, 6, 6),
    ]
    assert after.node("grouped").op == graph.node("grouped").op
    assert after.weight("grouped.live_weight").type.shape == (6, 2, 3, 3)


def test_refusals():
    for tail, why in (
        (lambda b, y: b("cat", Concat(), y, "x"), "'cat' is an output of the graph"),
        (lambda b, y: b("soft", Softmax(1), y), "'soft' (softmax) needs them all"),
        (lambda b, y: b("act", Relu(), y), "'act' is an output of the graph"),
    ):
        build = Pruned()
        y = dead(build, Conv2d(4, 3, padding=1), build.input(4, 5, 5))
        build("read", Conv2d(2, 1), y)
        after, record = apply(RemoveDeadChannels(), graph := build.graph("read", tail(build, y)))
        assert after is graph
        assert refusals(record) == {"dead": f"1 of 4 channels are dead, but {why}"}


def test_a_number_goes_into_the_bias_of_who_reads_it():
    """A filter of zeros behind which a bias, a normalisation and a sigmoid make one number."""
    build = Pruned("float64")
    y = build("norm", BatchNorm(), dead(build, Conv2d(4, 3), build.input(4, 6, 6)))
    y = build("pool", AvgPool(2), build("act", Sigmoid(), y))
    a = build("a", Conv2d(2, 1, bias=False), y)
    b = build("b", Dense(3), build("flat", Flatten(), y))
    after, record = apply(RemoveDeadChannels(), build.graph(a, b))
    assert [r.what for r in record.rewrites] == ["1 of 4 channels are dead"]
    assert after.node("a").op == Conv2d(2, 1, bias=True)
    assert after.weight("b.live_bias").array.any()


def test_a_number_that_meets_padding_is_needed():
    build = Pruned()
    y = build("act", Sigmoid(), dead(build, Conv2d(4, 3), build.input(4, 5, 5)))
    graph = build.graph(build("read", Conv2d(2, 3, padding=1), y))
    after, record = apply(RemoveDeadChannels(), graph)
    assert after is graph
    why = "1 of 4 channels are a number each, but padding or groups keep it from the bias of 'read'"
    assert refusals(record) == {"dead": why}


@pytest.mark.parametrize("f", [Shrink(0.3, 0.3), ThresholdedRelu(0.2)], ids=str)
def test_what_is_unknown_stays_so_through_a_threshold(f):
    build = Pruned("float64")
    x = build("act", f, build("made", Conv2d(4, 3), build.input(3, 5, 5)))
    graph = build.graph(build("read", Conv2d(2, 1), x))
    assert apply(RemoveDeadChannels(), graph)[0] is graph


HEADS = {
    "dense": lambda build, x: build("fc", Dense(3), build("flat", Flatten(), build("act", Relu(), x))),
    "norm": lambda build, x: build("norm", BatchNorm(), build("sum", Add(), x, build("act", Relu(), x))),
    "flat to planes": lambda build, x: build("y", Reshape((0, 0, 2, 2)), build("flat", Flatten(), x)),
    "new axis": lambda build, x: build("y", Unsqueeze((1,)), x),
    "no channels": lambda build, x: build("y", Reshape((0, 0, 0)), build("flat", Flatten(2), x)),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", [(0, 4, 4), (3, 0, 4), (3, 4, 0)], ids=str)
@pytest.mark.parametrize(
    "a_pass", [RemoveDeadChannels(), PruneChannels(0.5, round_to=1)], ids=lambda p: p.name
)
def test_values_of_no_elements(a_pass, shape, head):
    build = Pruned("float64")
    optimize(build.graph(HEADS[head](build, build.input(*shape))), [a_pass])


@pytest.mark.parametrize(
    "a_pass", [RemoveDeadChannels(), PruneChannels(0.5, round_to=1)], ids=lambda p: p.name
)
def test_layers_that_read_no_channels(a_pass):
    build = Pruned("float64")
    x = build("conv2", Conv2d(3, 1), build("conv1", Conv2d(4, 1), build.input(0, 4, 4)))
    optimize(build.graph(build("fc", Dense(2), build("flat", Flatten(), x))), [a_pass])


def test_filters_that_prune_masked_are_gone_after_the_default_pipeline():
    build = Builder("float64")
    x = build.input(3, 8, 8)
    for i, kernel in enumerate((3, 1, 1)):
        x = build(f"conv{i}", Conv2d(8, kernel, bias=False), x)
        x = build(f"act{i}", Relu(), build(f"norm{i}", BatchNorm(), x))
    graph = build.graph(build("fc", Dense(4), build("flat", Flatten(), build("mean", GlobalAvgPool(), x))))
    masked = optimized(graph, "prune{sparsity=0.5, pattern=channel, keep=[last]}")
    after = optimized(masked)
    assert [w.type.shape for name, w in after.weights.items() if w.type.rank > 1] == [
        (4, 3, 3, 3),
        (4, 4, 1, 1),
        (4, 4, 1, 1),
        (4, 4),
    ]
    same_values(masked, after, 1e-11)


@settings(max_examples=100, deadline=None)
@given(graphs("float64", most=10), st.data())
def test_any_pruned_graph(graph, data):
    """Filters, with or without their biases, and columns set to zero anywhere."""
    weights = dict(graph.weights)
    for name, weight in weights.items():
        kind, array = name.rsplit(".", 1)[-1], weight.array.copy()
        for axis in range(min(array.ndim, 2)):
            if kind in ("weight", "bias", "running_mean") and data.draw(st.booleans()):
                gone = data.draw(st.lists(st.integers(0, array.shape[axis] - 1), max_size=3))
                array[(slice(None),) * axis + (gone,)] = 0
        weights[name] = Weight.of(array)
    pruned = Graph.build("pruned", graph.inputs, graph.nodes, weights, graph.outputs)
    after, record = apply(RemoveDeadChannels(), pruned)
    assert after.parameters < pruned.parameters or not record.rewrites


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_pruned_chain(data):
    """Whole filters, whole inputs and single weights set to zero, between layers that keep channels apart."""
    build = Pruned("float64", data.draw(st.integers(0, 999)))
    x = build.input(3, 8, 8)
    between = st.sampled_from(
        [*ACTIVATIONS, BatchNorm(), MaxPool(2, 1), AvgPool(3, 1, 1), Dropout(), "depthwise"]
    )
    for i in range(data.draw(st.integers(2, 4))):
        x = build(
            f"c{i}",
            Conv2d(data.draw(st.integers(1, 5)), data.draw(st.sampled_from((1, 3))), padding="same"),
            x,
        )
        for k, op in enumerate(data.draw(st.lists(between, max_size=2))):
            c = int(build.types[x].shape[1])
            x = build(f"m{i}{k}", Conv2d(c, 3, padding=1, groups=c) if op == "depthwise" else op, x)
    x = build("last", Dense(3), build("flat", Flatten(), x))
    for name in list(build.weights):
        for axis in (0, 1):
            array = build.weights[name].array
            if axis < array.ndim and name.endswith(("weight", "bias")) and "m" not in name.split(".")[0]:
                gone = data.draw(st.lists(st.integers(0, array.shape[axis] - 1), max_size=3))
                build.kill(name, *([slice(None)] * axis), gone)
    graph = build.graph(x)
    apply(RemoveDeadChannels(), graph)
    after = optimized(graph)
    same_values(graph, after, 1e-11)
    assert optimized(after) is after
    assert len(every_op(after)) <= len(graph.nodes)
