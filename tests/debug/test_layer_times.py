import pytest
from strategies import Builder

import nbcnn
from nbcnn.debug import layer_times, sensitivity
from nbcnn.debug.samples import read
from nbcnn.ir import Graph
from nbcnn.lower.model import CONVERSION, StepTime
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten
from nbcnn.passes import fusing, optimize, prune_layers, prune_report
from nbcnn.passes.prune import Prune


def block() -> Graph:
    """a, norm, relu; b, norm, added to that; then a mean and a dense layer."""
    build = Builder()
    x = build("ra", Relu(), build("na", BatchNorm(), build("a", Conv2d(8, 3), build.input(4, 6, 6))))
    y = build("sum", Add(), build("nb", BatchNorm(), build("b", Conv2d(8, 3, padding="same"), x)), x)
    return build.graph(build("fc", Dense(5), build("flat", Flatten(), build("mean", GlobalAvgPool(), y))))


def study(graph: Graph, shares=(0.5, 0.9)) -> sensitivity.Sensitivity:
    layers = prune_layers.layers(graph)
    entries = tuple(sensitivity.Entry(x, prune_layers.macs(graph, x), (0.1,) * len(shares)) for x in layers)
    return sensitivity.Sensitivity("m", 1, Prune(0.5), shares, entries)


def step(node: str, op: str, seconds: float) -> StepTime:
    return StepTime(node, op, "kernel", seconds, 0.0, 0.0, 0.0)


def test_steps_belong_to_the_layers_that_were_folded_and_fused():
    graph = block()
    assert [node.name for node in layer_times.sparse(graph).nodes] == ["ra", "sum", "mean", "flat", "fc"]
    seen = []

    def profile(pruned: Graph) -> list[StepTime]:
        seen.append(round(max(row.share for row in prune_report.rows(pruned)), 1))
        return [
            step("x", CONVERSION, 1.0),
            step("ra", "fused", 10.0 - 10 * seen[-1]),
            step("ra", CONVERSION, 2.0),
            step("nb", "conv2d", 20.0),  # a fused node that was taken apart
            step("sum", "add", 3.0),
            step("mean", "global_avg_pool", 100.0),
            step("fc", "dense", 5.0),
            step("fc", CONVERSION, 200.0),
        ]

    told = []
    times = layer_times.measure(graph, study(graph), profile, lambda *words: told.append(words))
    assert seen == [0.0, 0.5, 0.9]
    assert times.layers == {
        "a.weight": pytest.approx((11.0, 6.0, 2.0)),
        "b.weight": (25.0, 25.0, 25.0),
        "fc.weight": (5.0, 5.0, 5.0),
    }
    assert (times.rest, times.dense, times.least) == (300.0, 341.0, 332.0)
    assert told == [(0, 3, "0 zeros"), (1, 3, "0.5 zeros"), (2, 3, "0.9 zeros")]


@pytest.mark.parametrize("name", ["digits", "cifar_sepconv", "shufflenet_v2_x1_0", "googlenet", "unet"])
def test_every_layer_is_found_again(name):
    graph = nbcnn.load(name)
    layers, lowered = prune_layers.layers(graph), layer_times.sparse(graph)
    owners = layer_times.owners(graph, layers, lowered)
    parts = [part for node in lowered.nodes for part in fusing.parts(node)]
    for layer in layers:
        shapes = [
            lowered.weight(w).type.shape
            for p in parts
            if owners.get(p.name) == layer.weight
            for w in p.weights
        ]
        assert layer.shape in shapes


def test_layers_that_lose_channels_are_found_again():
    build = Builder()
    x = build("rb", Relu(), build("b", Conv2d(8, 1), build("a", Conv2d(8, 3), build.input(4, 3, 3))))
    dense = build.graph(build("fc", Dense(5), build("flat", Flatten(), x)))
    graph = optimize(dense, [Prune(0.5, pattern="channel", keep=("last",))])
    assert [node.name for node in layer_times.sparse(graph).nodes][:2] == ["a.live", "rb.live"]
    owners = layer_times.owners(graph, prune_layers.layers(graph), layer_times.sparse(graph))
    assert set(owners.values()) == {"a.weight", "b.weight", "fc.weight"}


def test_a_real_model():
    graph = nbcnn.load("cifar_cnn")
    inputs = layer_times.one_call(graph, read(graph, None, 1))
    times = layer_times.measure(graph, study(graph, (0.9,)), layer_times.profiled(inputs, 1, rounds=3))
    assert times.rest > 0
    assert all(len(layer) == 2 and min(layer) > 0 for layer in times.layers.values())
    whole = layer_times.latency(layer_times.sparse(graph), inputs, 1)
    assert whole / 5 < times.dense < 5 * whole  # the steps by themselves take about as long as all at once
