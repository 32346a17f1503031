import pytest
from pass_checks import apply, refusals
from strategies import ACTIVATIONS, Builder, every_op

from nbcnn.ops.activation import Relu, Sigmoid
from nbcnn.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Pow, Prelu, Sub
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.comparison import Less, LogicalNot
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.elementary import Exp
from nbcnn.ops.piecewise import Clip
from nbcnn.ops.pool import MaxPool
from nbcnn.passes.fuse_activation import FuseActivation


@pytest.mark.parametrize("act", ACTIVATIONS, ids=str)
def test_fuses_every_activation(act):
    build = Builder()
    graph = build.graph(build("act", act, build("conv", Conv2d(4, 3), build.input(3, 6, 6))))
    after, record = apply(FuseActivation(), graph)
    (node,) = after.nodes
    assert (node.name, every_op(after)) == ("act", [f"[conv2d {act.name}]"])
    assert node.inputs == ("x", "conv.weight", "conv.bias")
    assert [n.name for n in node.op.body.nodes] == ["conv", "act"]
    assert record.gone == ("conv",)


def test_fuses_dense_batch_norm_add_and_mul():
    build = Builder()
    x = build("a0", Relu(), build("norm", BatchNorm(), build.input(6)))
    x = build("a1", Relu(), build("sum", Add(), x, x))
    x = build("a2", Relu(), build("product", Mul(), x, build.input(6, name="z")))
    graph = build.graph(build("a3", Relu(), build("dense", Dense(3), x)))
    after, _ = apply(FuseActivation(), graph)
    assert every_op(after) == ["[batch_norm relu]", "[add relu]", "[mul relu]", "[dense relu]"]
    assert after.node("a1").inputs == ("a0",)  # one operand, though the addition reads it twice


@pytest.mark.parametrize("op", [Sub(), Div(), Minimum(), Maximum(), Prelu()], ids=str)
def test_fuses_arithmetic(op):
    build = Builder()
    x, z = build.input(3, 4, 4), build.input(3, 4, 4, name="z")
    after, _ = apply(FuseActivation(), build.graph(build("act", Clip(-1.0, 0.5), build("y", op, x, z))))
    assert every_op(after) == [f"[{op.name} clip]"]


@pytest.mark.parametrize("op", [Pow(), Less()], ids=str)
def test_leaves_what_no_kernel_computes_with_an_activation(op):
    build = Builder()
    x, z = build("one", Exp(), build.input(3, 4, 4)), build.input(3, 4, 4, name="z")
    last = Relu() if op == Pow() else LogicalNot()
    graph = build.graph(build("act", last, build("y", op, x, z)))
    assert apply(FuseActivation(), graph)[0] is graph


def test_refuses_values_that_others_need():
    build = Builder()
    conv = build("conv", Conv2d(3, 1), build.input(3, 4, 4))
    graph = build.graph(build("sum", Add(), build("act", Relu(), conv), conv))
    after, record = apply(FuseActivation(), graph)
    assert after is graph
    assert refusals(record) == {"act": "'conv' is also read by 'sum'"}
    build("act2", Relu(), "conv")
    _, record = apply(FuseActivation(), build.graph("conv", "act2", "sum"))
    assert refusals(record)["act2"] == "'conv' is an output of the graph"


def test_refuses_a_second_activation():
    build = Builder()
    act = build("act", Relu(), build("conv", Conv2d(3, 1), build.input(3, 4, 4)))
    after, record = apply(FuseActivation(), build.graph(build("gate", Sigmoid(), act)))
    assert every_op(after) == ["[conv2d relu]", "sigmoid"]
    assert refusals(record) == {"gate": "'act' ends in an activation already"}


def test_leaves_other_activations_alone():
    build = Builder()
    x = build("pool", MaxPool(2), build("first", Relu(), build.input(3, 4, 4)))
    after, record = apply(FuseActivation(), graph := build.graph(build("act", Relu(), x)))
    assert after is graph
    assert not record.refusals


def test_limit():
    build = Builder()
    x = build("a1", Relu(), build("c1", Conv2d(3, 1), build.input(3, 4, 4)))
    graph = build.graph(build("a2", Relu(), build("c2", Conv2d(3, 1), x)))
    after, record = apply(FuseActivation(), graph, limit=1)
    assert every_op(after) == ["[conv2d relu]", "conv2d", "relu"]
    assert [r.node for r in record.rewrites] == ["a1"]
