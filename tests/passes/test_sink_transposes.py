import numpy as np
import pytest
from pass_checks import apply, optimized, refusals
from strategies import Builder, every_op

from nbcnn.ir import Op
from nbcnn.ops.activation import Gelu, Relu
from nbcnn.ops.arithmetic import Add, Mul, Sub
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.pool import MaxPool
from nbcnn.ops.softmax import LogSoftmax, Softmax
from nbcnn.ops.transpose import Transpose
from nbcnn.passes.sink_transposes import SinkTransposes

LAST, FIRST = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))


@pytest.mark.parametrize(
    "op, moved",
    [
        (Gelu(), Gelu()),
        (LayerNorm((-1,)), LayerNorm((1,))),
        (LayerNorm((1, 2)), LayerNorm((2, 3))),
        (RmsNorm((2,)), RmsNorm((3,))),
        (Softmax(-1), Softmax(1)),
        (LogSoftmax(1), LogSoftmax(2)),
    ],
    ids=str,
)
def test_sinks(op: Op, moved: Op) -> None:
    build = Builder("float64")
    x = build("y", op, build("last", LAST, build.input(3, 4, 5)))
    after, record = apply(SinkTransposes(), build.graph({"z": x}))
    assert [(n.name, n.op) for n in after.nodes] == [("y.first", moved), ("y", LAST)]
    assert record.gone == ("last",)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 1, 1), (1, 4, 5, 3), (1,), ()], ids=str)
@pytest.mark.parametrize("left", [True, False])
def test_constants_are_turned(shape: tuple[int, ...], left: bool) -> None:
    build = Builder("float64")
    x = build("last", LAST, build.input(3, 4, 5))
    c = build.weight("c", build.rng.normal(size=shape))
    after, _ = apply(SinkTransposes(), build.graph(build("y", Sub(), *((c, x) if left else (x, c)))))
    assert every_op(after) == ["sub", "transpose"]
    assert len(after.weights) == 1


def test_two_operands_of_one_order() -> None:
    build = Builder()
    x, z = build.input(3, 4, 5), build.input(3, 4, 5, name="z")
    y = build("y", Add(), build("a", LAST, x), build("b", LAST, z))
    after, _ = apply(SinkTransposes(), build.graph(y))
    assert every_op(after) == ["add", "transpose"]
    assert after.nodes[0].inputs == ("x", "z")


def test_a_value_that_is_read_twice_by_one_node() -> None:
    build = Builder()
    x = build("last", LAST, build.input(3, 4, 5))
    after, _ = apply(SinkTransposes(), build.graph(build("square", Mul(), x, x)))
    assert every_op(after) == ["mul", "transpose"]


def test_refuses_what_others_read_and_other_orders() -> None:
    build = Builder()
    x = build.input(4, 4, 4)
    last, first = build("last", LAST, x), build("turn", FIRST, x)
    seen = build("seen", Relu(), last)
    twice = build("twice", Mul(), last, last)
    mixed = build("mixed", Add(), first, build("again", LAST, x))
    half = build("half", Add(), build("third", LAST, x), x)
    graph = build.graph(seen, twice, mixed, half)
    after, record = apply(SinkTransposes(), graph)
    assert after is graph
    assert refusals(record)["seen"].startswith("'last' is also read by 'twice'")


def test_leaves_what_has_an_order_of_its_own() -> None:
    build = Builder()
    x = build("last", LAST, build.input(3, 4, 5))
    pooled = build("pool", MaxPool(2), x)
    build2 = Builder()
    y = build2("norm", LayerNorm((1, 3)), build2("last", LAST, build2.input(3, 4, 5)))  # axes 2 and 1
    z = build2("wide", Add(), build2("thin", LAST, build2.input(3, 4, 1, name="q")), _ones(build2))
    for graph in (build.graph(pooled), build2.graph(y, z)):
        assert apply(SinkTransposes(), graph)[0] is graph


def _ones(build: Builder) -> str:
    return build.weight("ones", np.ones((4, 7, 3)))


def test_channels_last_and_back_is_gone() -> None:
    build = Builder()
    x = build("last", LAST, build("conv", Conv2d(6, 1), build.input(3, 4, 5)))
    x = build("norm", LayerNorm((-1,)), build("scaled", Mul(), x, build.weight("s", np.arange(1.0, 7.0))))
    x = build("first", FIRST, build("act", Gelu(), x))
    after = optimized(build.graph(build("out", Conv2d(2, 1), x)))
    assert every_op(after) == ["conv2d", "layer_norm", "gelu", "conv2d"]


def test_limit() -> None:
    build = Builder()
    x = build("b", Relu(), build("a", Gelu(), build("last", LAST, build.input(3, 4, 5))))
    after, _ = apply(SinkTransposes(), build.graph(x), limit=1)
    assert every_op(after) == ["gelu", "transpose", "relu"]
