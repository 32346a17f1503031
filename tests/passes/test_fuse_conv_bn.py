import numpy as np
import pytest
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.passes import run
from nbcnn.passes.fuse_conv_bn import FuseConvBn

CONVS = [
    Conv2d(6, 3),
    Conv2d(6, 3, bias=False),
    Conv2d(6, 3, stride=2, padding="same", flip=True),
    Conv2d(8, 3, padding=(0, 1, 2, 1), groups=4),
    Conv2d(4, 3, padding=2, dilation=2, groups=4, bias=False),
    Conv2d(12, (1, 3), groups=4, flip=True),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_folds_any_convolution(conv, dtype):
    build = Builder(dtype)
    build("bn", BatchNorm(1e-3), build("conv", conv, build.input(4, 7, 6)))
    after, record = apply(FuseConvBn(), build.graph("bn"))
    (node,) = after.nodes
    assert (node.name, node.op.name, node.op.bias) == ("bn", "conv2d", True)
    assert set(after.weights) == {"bn.folded_weight", "bn.folded_bias"}
    assert record.gone == ("conv",)


@pytest.mark.parametrize("bias", [True, False])
def test_folds_dense(bias):
    build = Builder()
    build("bn", BatchNorm(), build("dense", Dense(5, bias), build.input(7)))
    after, _ = apply(FuseConvBn(), build.graph("bn"))
    assert every_op(after) == ["dense"]


def test_epsilon_counts_when_variances_are_small():
    build = Builder("float64")
    x = build.input(2, 4, 4)
    small = build.weight("small", np.full(3, 1e-3))
    build("bn", BatchNorm(1e-3), build("conv", Conv2d(3, 1), x), running_var=small)
    apply(FuseConvBn(), build.graph("bn"))


def test_two_norms_in_a_row_fold_both():
    build = Builder("float64")
    x = build("conv", Conv2d(3, 3), build.input(2, 6, 6))
    build("bn2", BatchNorm(), build("bn1", BatchNorm(), x))
    after, record = apply(FuseConvBn(), build.graph("bn2"))
    assert every_op(after) == ["conv2d"]
    assert [r.number for r in record.rewrites] == [1, 2]
    assert len(after.weights) == 2


def test_shared_weight_is_copied_on_write():
    build = Builder()
    x = build.input(3, 6, 6)
    a = build("bn1", BatchNorm(), build("conv1", Conv2d(3, 3, padding=1), x))
    b = build("conv2", Conv2d(3, 3, padding=1), a, weight="conv1.weight")
    graph = build.graph(build("bn2", BatchNorm(), build("act", Relu(), b)))
    after, _ = apply(FuseConvBn(), graph)
    assert after.weight("conv1.weight") is graph.weight("conv1.weight")
    assert after.node("conv2").weights == ("conv1.weight", "conv2.bias")
    assert after.node("bn1").weights == ("bn1.folded_weight", "bn1.folded_bias")


def test_masks_stay_and_so_do_their_zeros():
    build = Builder()
    x = build.input(4, 5, 5)
    mask = build.rng.random((6, 4, 3, 3)) < 0.3
    build.weight("w", build.rng.normal(size=mask.shape), mask)
    build("bn", BatchNorm(), build("conv", Conv2d(6, 3), x, weight="w"))
    after, _ = apply(FuseConvBn(), build.graph("bn"))
    folded = after.weight("bn.folded_weight")
    np.testing.assert_array_equal(folded.mask, mask)
    np.testing.assert_array_equal(folded.array != 0, mask)


def test_trainable_is_kept():
    build = Builder()
    build("bn", BatchNorm(), build("conv", Conv2d(6, 3, bias=False), build.input(4, 5, 5)))
    after, _ = apply(FuseConvBn(), build.graph("bn"))
    assert after.parameters == 6 * 4 * 9 + 6


def test_refuses_a_convolution_that_others_read():
    build = Builder()
    conv = build("conv", Conv2d(3, 3, padding=1), build.input(3, 5, 5))
    graph = build.graph(build("sum", Add(), build("bn", BatchNorm(), conv), conv))
    after, record = apply(FuseConvBn(), graph)
    assert after is graph
    assert refusals(record) == {"bn": "'conv' is also read by 'sum'"}


def test_refuses_a_convolution_that_is_an_output():
    build = Builder()
    build("bn", BatchNorm(), build("conv", Conv2d(3, 3), build.input(3, 5, 5)))
    after, record = apply(FuseConvBn(), graph := build.graph("conv", "bn"))
    assert after is graph
    assert refusals(record) == {"bn": "'conv' is an output of the graph"}


def test_refuses_weights_that_would_not_be_finite():
    build = Builder()
    x = build.input(2, 4, 4)
    zero = build.weight("zero", np.zeros(3))
    build("bn", BatchNorm(0.0), build("conv", Conv2d(3, 1), x), running_var=zero)
    graph = build.graph("bn")
    report = run(graph, [FuseConvBn()])
    assert report.graph is graph
    assert "overflow" in refusals(report.records[0])["bn"]


def test_leaves_other_norms_alone():
    build = Builder()
    graph = build.graph(build("bn", BatchNorm(), build("act", Relu(), build.input(3, 4, 4))))
    after, record = apply(FuseConvBn(), graph)
    assert after is graph
    assert not record.refusals


def test_limit_stops_after_so_many_rewrites():
    build = Builder()
    x = build.input(3, 6, 6)
    for i in (1, 2, 3):
        x = build(f"act{i}", Relu(), build(f"bn{i}", BatchNorm(), build(f"conv{i}", Conv2d(3, 1), x)))
    for limit in (1, 2, 3):
        after, record = apply(FuseConvBn(), build.graph(x), limit)
        assert [(r.number, r.node) for r in record.rewrites] == [(i, f"bn{i}") for i in range(1, limit + 1)]
        assert every_op(after).count("batch_norm") == 3 - limit


def test_a_fold_that_takes_away_the_other_reader_lets_the_next_one_happen():
    build = Builder("float64")
    conv = build("conv", Conv2d(4, 1), build.input(3, 8, 8))
    build("dead", Conv2d(5, 1), build("first", BatchNorm(), conv))  # folds behind, and nothing reads it
    graph = build.graph(build("second", BatchNorm(), conv))
    after, record = apply(FuseConvBn(), graph)
    assert [n.name for n in after.nodes] == ["second"]
    assert [w.node for w in record.rewrites] == ["first", "second"]
