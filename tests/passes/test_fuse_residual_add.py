from pass_checks import apply, optimized, refusals, same_values
from strategies import Builder, every_op

from nbcnn.ops.activation import Relu, Sigmoid, Silu
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import GlobalAvgPool, MaxPool
from nbcnn.passes.fuse_activation import FuseActivation
from nbcnn.passes.fuse_residual_add import FuseResidualAdd


def resnet_block(build: Builder) -> str:
    x = build.input(4, 6, 6)
    main = build("conv1", Conv2d(4, 3, padding=1), x)
    return build("act", Relu(), build("sum", Add(), main, x))


def test_fuses_with_the_convolutions_own_input():
    build = Builder()
    resnet_block(build)
    after, record = apply(FuseResidualAdd(), build.graph("act"))
    assert every_op(after) == ["[conv2d add]", "relu"]
    node = after.node("sum")
    assert node.inputs == ("x", "conv1.weight", "conv1.bias")
    assert record.gone == ("conv1",)


def test_both_orders_of_the_passes_agree_on_resnet():
    build = Builder()
    resnet_block(build)
    graph = build.graph("act")
    for passes in ([FuseActivation, FuseResidualAdd], [FuseResidualAdd, FuseActivation]):
        after = optimized(graph, passes)
        assert every_op(after) == ["[conv2d add relu]"]
        assert [n.name for n in after.node("act").op.body.nodes] == ["conv1", "sum", "act"]
        same_values(graph, after, 0)


def test_darknets_order_fuses_the_activation_before_the_addition():
    build = Builder()
    x = build.input(4, 6, 6)
    act = build("act", Silu(), build("conv", Conv2d(4, 3, padding=1), x))
    graph = build.graph(build("last", Relu(), build("sum", Add(), x, act)))
    after = optimized(graph)
    assert every_op(after) == ["[conv2d silu add relu]"]
    same_values(graph, after, 0)


def test_the_last_of_two_convolutions_takes_the_addition():
    build = Builder()
    x = build.input(3, 6, 6)
    first = build("first", Conv2d(4, 1), x)
    last = build("last", Conv2d(4, 1), x)
    after, _ = apply(FuseResidualAdd(), build.graph(build("sum", Add(), last, first)))
    assert [n.name for n in after.nodes] == ["first", "sum"]
    assert after.node("sum").data == ("x", "first")
    after, _ = apply(FuseResidualAdd(), build.graph(build("sum2", Add(), first, last), "sum", "first"))
    assert every_op(after).count("[conv2d add]") == 0


def test_the_other_convolution_takes_it_when_the_last_cannot():
    build = Builder()
    x = build.input(3, 6, 6)
    first = build("first", Conv2d(4, 1), x)
    last = build("last", Conv2d(4, 1), x)
    after, record = apply(FuseResidualAdd(), build.graph(build("sum", Add(), first, last), "last"))
    assert [n.name for n in after.nodes] == ["last", "sum"]
    assert not record.refusals


def test_never_makes_a_cycle():
    build = Builder()
    conv = build("conv", Conv2d(3, 1), build.input(3, 6, 6))
    other = build("other", MaxPool(3, 1, 1), conv)  # depends on the convolution
    after, record = apply(FuseResidualAdd(), graph := build.graph(build("sum", Add(), conv, other)))
    assert after is graph
    assert refusals(record) == {"sum": "'conv' is also read by 'other'"}


def test_refuses_a_value_added_to_itself():
    build = Builder()
    conv = build("conv", Conv2d(3, 1), build.input(3, 6, 6))
    after, record = apply(FuseResidualAdd(), graph := build.graph(build("sum", Add(), conv, conv)))
    assert after is graph
    assert refusals(record) == {"sum": "'conv' is also read by 'sum'"}


def test_refuses_broadcasting_either_way():
    for wide in (True, False):
        build = Builder()
        x = build.input(3, 6, 6)
        pooled = build("pool", GlobalAvgPool(), x)
        conv = build("conv", Conv2d(3, 1), x if wide else pooled)
        after, record = apply(
            FuseResidualAdd(), graph := build.graph(build("sum", Add(), conv, pooled if wide else x))
        )
        assert after is graph
        assert "does not broadcast" in refusals(record)["sum"]


def test_one_addition_per_convolution():
    build = Builder()
    x = build.input(3, 6, 6)
    once = build("once", Add(), build("conv", Conv2d(3, 1), x), x)
    after, _ = apply(FuseResidualAdd(), build.graph(build("twice", Add(), once, x)))
    assert every_op(after) == ["[conv2d add]", "add"]


def test_leaves_other_additions_alone_and_keeps_to_the_limit():
    build = Builder()
    x = build.input(3, 6, 6)
    x = build("plain", Add(), x, "x")
    for i in (1, 2):
        x = build(f"sum{i}", Add(), build(f"conv{i}", Conv2d(3, 1), x), x)
    after, record = apply(FuseResidualAdd(), build.graph(x), limit=1)
    assert every_op(after) == ["add", "[conv2d add]", "conv2d", "add"]
    assert not record.refusals


def gated(build: Builder) -> str:
    """Squeeze and excitation's product, and the shortcut around it."""
    x = build.input(4, 6, 6)
    gate = build("gate", Sigmoid(), build("mean", GlobalAvgPool(), x))
    return build("sum", Add(), build("scaled", Mul(), x, gate), x)


def test_fuses_with_the_product_of_a_gate():
    build = Builder()
    graph = build.graph(build("act", Relu(), gated(build)))
    after = optimized(graph)
    assert every_op(after) == ["global_avg_pool", "sigmoid", "[mul add relu]"]
    same_values(graph, after, 0)


def test_a_convolution_goes_before_a_product():
    for swapped in (False, True):
        build = Builder()
        x = build.input(4, 6, 6)
        conv = build("conv", Conv2d(4, 1), x)
        scaled = build("scaled", Mul(), x, build("mean", GlobalAvgPool(), x))
        both = (scaled, conv) if swapped else (conv, scaled)
        after, _ = apply(FuseResidualAdd(), build.graph(build("sum", Add(), *both)))
        assert every_op(after) == ["global_avg_pool", "mul", "[conv2d add]"]


def test_refuses_a_product_that_others_read_or_that_broadcasts():
    build = Builder()
    after, record = apply(FuseResidualAdd(), graph := build.graph(gated(build), "scaled"))
    assert after is graph
    assert refusals(record) == {"sum": "'scaled' is an output of the graph"}
    build = Builder()
    x = build.input(3, 6, 6)
    mean = build("mean", GlobalAvgPool(), x)
    after, record = apply(
        FuseResidualAdd(), graph := build.graph(build("sum", Add(), x, build("scaled", Mul(), mean, mean)))
    )
    assert after is graph
    assert "does not broadcast" in refusals(record)["sum"]
