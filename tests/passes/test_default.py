"""Every pass, and the default pipeline, on graphs that Hypothesis draws."""

from hypothesis import HealthCheck, given, settings
from pass_checks import same_values
from strategies import Builder, every_op, graphs

from nbcnn.ir import verify
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.pool import GlobalAvgPool, MaxPool
from nbcnn.ops.reshape import Flatten
from nbcnn.ops.softmax import Softmax
from nbcnn.passes import optimize, run

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(graphs("float64", most=12))
def test_default_keeps_every_value_and_settles(graph):
    after = optimize(graph)
    verify(after)
    same_values(graph, after, 1e-11)
    assert optimize(after) is after


@quick
@given(graphs("float32"))
def test_default_keeps_float32_graphs(graph):
    same_values(graph, optimize(graph), 1e-5)  # the folded weights are rounded once


@settings(quick, max_examples=25)
@given(graph=graphs("float64"))
def test_every_prefix_of_the_rewrites_is_sound(graph):
    for limit in range(run(graph).rewrites):
        report = run(graph, limit=limit)
        assert report.rewrites == limit
        same_values(graph, report.graph, 1e-11)


def test_a_residual_network_becomes_one_node_per_convolution():
    build = Builder()
    x = build("stem", Conv2d(4, 3, padding=1, bias=False), build.input(3, 8, 8))
    x = build("pool", MaxPool(3, 2, 1), build("relu", Relu(), build("bn", BatchNorm(), x)))
    y = build("conv1", Conv2d(4, 3, padding=1, bias=False), x)
    y = build(
        "conv2", Conv2d(4, 3, padding=1, bias=False), build("relu1", Relu(), build("bn1", BatchNorm(), y))
    )
    x = build("relu2", Relu(), build("add", Add(), build("bn2", BatchNorm(), y), x))
    x = build("flat", Flatten(), build("gap", GlobalAvgPool(), x))
    graph = build.graph(build("prob", Softmax(), build("fc", Dense(5), build("drop", Dropout(), x))))
    after = optimize(graph)
    assert every_op(after) == [
        "[conv2d relu]",
        "max_pool",
        "[conv2d relu]",
        "[conv2d add relu]",
        "global_avg_pool",
        "flatten",
        "dense",
        "softmax",
    ]
    body = after.node("relu2").op.body
    assert body.inputs == ("relu1", "pool")
    assert body.weights == ("bn2.folded_weight", "bn2.folded_bias")
    assert [n.name for n in body.nodes] == ["bn2", "add", "relu2"]
    assert graph.macs == after.macs


def test_a_dead_reader_keeps_nothing_from_fusing():
    build = Builder()
    conv = build("conv", Conv2d(3, 3), build.input(3, 6, 6))
    build("dead", Relu(), conv)
    assert every_op(optimize(build.graph(build("act", Relu(), conv)))) == ["[conv2d relu]"]
