import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, optimized, refusals, same_values
from strategies import Builder, convolutions, every_op

from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add, Div, Maximum, Mul, Sub
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.elementary import Neg
from nbcnn.passes import run
from nbcnn.passes.fuse_conv_bn import FuseConvBn
from nbcnn.passes.fuse_scale_shift import FuseScaleShift

SHAPES = [(4, 1, 1), (1, 4, 1, 1), (1,), ()]
LAYERS = [
    Conv2d(4, 3, padding=1, stride=2),
    Conv2d(4, 3, bias=False, groups=2, flip=True),
    Conv2d(4, 3, groups=4),
    ConvTranspose2d(4, 3, stride=2, padding=1),
    ConvTranspose2d(4, 2, groups=2, bias=False),
    BatchNorm(),
]


def nodes(graph: Graph) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(n.name, n.op.name, n.inputs) for n in graph.nodes]


def constant(build: Builder, shape: tuple[int, ...]) -> str:
    return build.weight(f"k{len(build.weights)}", build.rng.normal(size=shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_chain_behind_a_layer(layer, shape):
    build = Builder("float64")
    x = build("layer", layer, build.input(4, 6, 5))
    x = build("add", Add(), build("mul", Mul(), constant(build, shape), x), constant(build, shape))
    after, record = apply(FuseScaleShift(), build.graph(build("mul2", Mul(), x, constant(build, (1,)))))
    assert every_op(after) == [layer.name]
    assert [r.node for r in record.rewrites] == ["mul", "add", "mul2"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "layer", [Conv2d(6, 3), *LAYERS[1:3], Conv2d(2, 1, bias=False), BatchNorm()], ids=str
)
def test_a_chain_before_a_layer(layer, shape):
    build = Builder("float64")
    x = build("mul", Mul(), build.input(4, 6, 5), constant(build, shape))
    x = build("add", Add(), x, constant(build, shape))
    after, record = apply(FuseScaleShift(), build.graph(build("layer", layer, x)))
    assert every_op(after) == [layer.name]
    assert [r.node for r in record.rewrites] == ["add", "mul"]


def test_golden():
    build = Builder()
    x = build("mul", Mul(), build.input(3, 5, 5), constant(build, (3, 1, 1)))
    x = build("conv", Conv2d(2, 3, padding=1, bias=False), x)
    after, _ = apply(FuseScaleShift(), build.graph(build("add", Add(), x, constant(build, (2, 1, 1)))))
    # An addition leaves the weight as it is, a scale makes no bias.
    assert nodes(after) == [("add", "conv2d", ("x", "add.folded_weight", "add.folded_bias"))]


@pytest.mark.parametrize("before", [True, False])
def test_rows_and_dense(before):
    build = Builder("float64")
    x = build.input(7)
    if before:
        x = build("add", Add(), build("mul", Mul(), x, constant(build, (7,))), constant(build, (1, 7)))
    x = build("dense", Dense(5, bias=False), x)
    if not before:
        x = build("add", Add(), build("mul", Mul(), x, constant(build, (1, 5))), constant(build, (5,)))
    assert every_op(apply(FuseScaleShift(), build.graph(x))[0]) == ["dense"]


def test_padding_takes_a_scale_and_no_shift():
    build = Builder()
    x = build("add", Add(), build.input(3, 5, 5), constant(build, (3, 1, 1)))
    after, record = apply(
        FuseScaleShift(), graph := build.graph(build("conv", Conv2d(2, 3, padding="same"), x))
    )
    assert after is graph
    assert refusals(record) == {"add": "a shift would not reach the padding of 'conv'"}
    build = Builder()
    x = build("mul", Mul(), build.input(3, 5, 5), constant(build, (3, 1, 1)))
    after, _ = apply(FuseScaleShift(), build.graph(build("conv", Conv2d(2, 3, padding="same"), x)))
    assert every_op(after) == ["conv2d"]


@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[3], BatchNorm()], ids=str)
def test_differences_quotients_and_signs(layer):
    build = Builder("float64")

    def chain(x: str, label: str) -> str:
        x = build(f"{label}1", Sub(), x, constant(build, (4, 1, 1)))
        x = build(f"{label}2", Div(), x, constant(build, (1, 4, 1, 1)))
        x = build(f"{label}3", Sub(), constant(build, (1,)), x)
        return build(f"{label}4", Neg(), x)

    x = chain(build("layer", layer, build.input(4, 6, 5)), "behind")
    after, _ = apply(FuseScaleShift(), build.graph(x))
    assert every_op(after) == [layer.name]
    build = Builder("float64")
    x = chain(build.input(4, 6, 5), "before")
    after, _ = apply(FuseScaleShift(), build.graph(build("layer", Conv2d(3, 2), x)))
    assert every_op(after) == ["conv2d"]


def test_what_is_not_linear_stays():
    build = Builder()
    x = build("conv", Conv2d(4, 1), build.input(4, 6, 5))
    inverse = build("inverse", Div(), constant(build, (1,)), x)
    graph = build.graph(build("largest", Maximum(), inverse, constant(build, (1,))))
    assert apply(FuseScaleShift(), graph)[0] is graph
    build = Builder()
    x = build("conv", Conv2d(2, 1), build.input(2, 3, 3))
    graph = build.graph(build("div", Div(), x, build.weight("zero", np.zeros(1))))
    report = run(graph, [FuseScaleShift()])
    assert report.graph is graph
    assert "overflow or hold NaN" in refusals(report.records[0])["div"]


def test_refusals():
    build = Builder()
    x = build.input(3, 4, 5)
    rows = build("rows", Mul(), build("conv1", Conv2d(3, 1), x), constant(build, (5,)))
    grown = build("grown", Mul(), build("conv2", Conv2d(1, 1), x), constant(build, (3, 1, 1)))
    seen = build("conv3", Conv2d(3, 1), x)
    shared = build("shared", Add(), seen, constant(build, (1,)))
    up = build(
        "up", ConvTranspose2d(3, 2), build("shift", Add(), build("relu", Relu(), x), constant(build, ()))
    )
    graph = build.graph(rows, grown, seen, shared, up)
    after, record = apply(FuseScaleShift(), graph)
    assert after is graph
    why = refusals(record)
    assert "not one number for each channel" in why["rows"]
    assert "makes the value larger" in why["grown"]
    assert why["shared"] == "'conv3' is an output of the graph"
    assert "different numbers of taps" in why["shift"]


def test_overflow_is_refused():
    build = Builder()
    x = build(
        "conv", Conv2d(2, 1), build.input(2, 3, 3), weight=build.weight("w", np.full((2, 2, 1, 1), 1e10))
    )
    graph = build.graph(build("mul", Mul(), x, build.weight("big", np.full(1, 3e38))))
    report = run(graph, [FuseScaleShift()])
    assert report.graph is graph
    assert "overflow" in refusals(report.records[0])["mul"]


def test_masks_stay():
    build = Builder()
    mask = build.rng.random((6, 4, 3, 3)) < 0.3
    w = build.weight("w", build.rng.normal(size=mask.shape), mask)
    x = build("mul", Mul(), build.input(4, 5, 5), constant(build, (4, 1, 1)))
    after, _ = apply(FuseScaleShift(), build.graph(build("conv", Conv2d(6, 3), x, weight=w)))
    np.testing.assert_array_equal(after.weight("conv.folded_weight").mask, mask)


@pytest.mark.parametrize(
    "layer", [Conv2d(6, 3), Conv2d(4, 3, groups=4, bias=False), Conv2d(4, 1, groups=2)], ids=str
)
def test_norm_before_a_convolution(layer):
    build = Builder("float64")
    graph = build.graph(build("conv", layer, build("bn", BatchNorm(), build.input(4, 5, 6))))
    after, record = apply(FuseConvBn(), graph)
    assert nodes(after) == [("conv", "conv2d", ("x", "conv.folded_weight", "conv.folded_bias"))]
    assert record.gone == ("bn",)


def test_norm_before_padding_only_without_a_shift():
    build = Builder("float64")
    x = build.input(4, 5, 6)
    conv = build("conv", Conv2d(3, 3, padding=1), build("bn", BatchNorm(), x))
    after, record = apply(FuseConvBn(), graph := build.graph(conv))
    assert after is graph
    assert refusals(record) == {"bn": "a shift would not reach the padding of 'conv'"}
    build = Builder("float64")
    zero = build.weight("zero", np.zeros(4))
    x = build("bn", BatchNorm(), build.input(4, 5, 6), bias=zero, running_mean=zero)
    after, _ = apply(FuseConvBn(), build.graph(build("conv", Conv2d(3, 3, padding=1), x)))
    assert every_op(after) == ["conv2d"]


@pytest.mark.parametrize("layer", LAYERS[3:5], ids=str)
def test_norm_behind_a_transposed_convolution(layer):
    build = Builder("float64")
    build("bn", BatchNorm(), build("up", layer, build.input(4, 5, 6)))
    assert every_op(apply(FuseConvBn(), build.graph("bn"))[0]) == ["conv_transpose2d"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_chain(data):
    """Constants and norms around any convolution, then the default pipeline."""
    build = Builder("float64", data.draw(st.integers(0, 999)))
    x = build.input(data.draw(st.integers(1, 4)), 7, 7)

    def chain(x: str, label: str) -> str:
        for i in range(data.draw(st.integers(0, 3))):
            c = int(build.types[x].shape[1])
            op = data.draw(st.sampled_from((Mul(), Add(), BatchNorm())))
            shape = data.draw(st.sampled_from(((c, 1, 1), (1, c, 1, 1), (1,))))
            x = build(f"{label}{i}", op, x, *([] if op == BatchNorm() else [constant(build, shape)]))
        return x

    x = chain(x, "before")
    x = build("conv", data.draw(convolutions(int(build.types[x].shape[1]))), x)
    x = build("out", Relu(), chain(x, "after"))
    graph = build.graph(x)
    apply(FuseScaleShift(), graph)
    apply(FuseConvBn(), graph)
    after = optimized(graph)
    same_values(graph, after, 1e-11)
    assert optimized(after) is after
    assert not any(n.name.startswith("after") and n.op.name != "fused" for n in after.nodes)
