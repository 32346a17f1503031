"""fold-pad: what takes in a pad, bit by bit the same, and what must not."""

import math

import pytest
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn.ir import text
from nbcnn.ops.activation import Elu, LeakyRelu, Relu, Sigmoid, Tanh
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes import run
from nbcnn.passes.fold_pad import FoldPad

MINUS = -math.inf


def padded(op, pad, *before, dtype="float64"):
    """input, the nodes ``before``, pad, op."""
    build = Builder(dtype)
    x = build.input(3, 7, 8)
    for i, act in enumerate(before):
        x = build(f"before{i}", act, x)
    return build.graph(build("y", op, build("pad", pad, x)))


def test_golden():
    graph = padded(Conv2d(4, 3, padding=(0, 1)), Pad((1, 2, 0, 0)), dtype="float32")
    after, record = apply(FoldPad(), graph)
    assert text.diff(graph, after) == (
        "- pad = pad{padding=[1, 2, 0, 0]}(x) : float32[N, 3, 8, 10]\n"
        "- y = conv2d{channels=4, kernel=[3, 3], padding=[0, 1, 0, 1]}(pad, y.weight, y.bias)"
        " : float32[N, 4, 6, 10]\n"
        "+ y = conv2d{channels=4, kernel=[3, 3], padding=[1, 3, 0, 1]}(x, y.weight, y.bias)"
        " : float32[N, 4, 6, 10]\n"
    )
    assert record.gone == ("pad",)


@pytest.mark.parametrize(
    "op, pad, before",
    [
        (Conv2d(4, 3), Pad(1), ()),
        (Conv2d(4, 3, stride=2, padding="same"), Pad((0, 1, 1, 0)), ()),
        (Conv2d(6, 3, groups=3, dilation=2, flip=True), Pad(2), ()),
        (AvgPool(3, 2), Pad(1), ()),
        (AvgPool(3, 2, ceil_mode=True), Pad(1), ()),
        (AvgPool(3, 2, 1, count_include_pad=True), Pad((0, 1)), ()),
        (AvgPool(3, 1, "same", count_include_pad=True), Pad(1), ()),
        (MaxPool(3, 2), Pad(1, MINUS), ()),
        (MaxPool(3, 2), Pad(1), (Relu(),)),
        (MaxPool(3, 2), Pad(1, -1.0), (Sigmoid(),)),
        (MaxPool(3, 2), Pad(1, -1.0), (Tanh(),)),
        (MaxPool(3, 2), Pad(1, -0.5), (Elu(0.5),)),
        (MaxPool(3, 2), Pad(1), (Relu(), MaxPool(2, 1), AvgPool(2, 1))),
        (Pad(1, 2.0), Pad((0, 1, 2, 3), 2.0), ()),
        (Conv2d(4, 3), Pad((0, 0, 0, 1, 0, 0, 2, 0), axes=(0, 1, 2, 3)), ()),
        (Pad((1, 0), axes=(3,)), Pad(1), ()),
    ],
    ids=str,
)
def test_folds(op, pad, before):
    graph = padded(op, pad, *before)
    after, _ = apply(FoldPad(), graph)
    assert every_op(after) == [*every_op(graph)[: len(before)], op.name]


@pytest.mark.parametrize(
    "op, pad, before, why",
    [
        (Conv2d(4, 3), Pad(1, 2.0), (), "'pad' pads with 2, and conv2d with zeros"),
        (AvgPool(3, 2), Pad(1, MINUS), (), "'pad' pads with -inf, and avg_pool with zeros"),
        (AvgPool(3, 2, 1), Pad(1), (), "does not count its own padding, but the zeros of 'pad'"),
        (AvgPool(2, 2), Pad(2), (), "nothing but padding"),
        (MaxPool(2, 2), Pad(2, MINUS), (), "nothing but padding"),
        (MaxPool(3, 2), Pad(1), (), "'x' may be anything"),
        (MaxPool(3, 2), Pad(1), (LeakyRelu(),), "'before0' may be anything"),
        (MaxPool(3, 2), Pad(1), (Tanh(),), "'before0' may be at least -1"),
        (MaxPool(3, 2), Pad(1, 0.1), (Relu(),), "may be at least 0: a maximum would see it"),
        (MaxPool(2, 3, ceil_mode=True), Pad((0, 0, 1, 2), MINUS), (), "ceil_mode"),
        (Pad(1), Pad(1, 2.0), (), "'pad' pads with 2, 'y' with 0"),
        (Conv2d(4, 3), Pad(1, mode="reflect"), (), "'pad' does not put numbers around planes"),
        (Conv2d(4, 3), Pad((1, -1)), (), "'pad' does not put numbers around planes"),
        (Conv2d(4, 3), Pad(1, axes=(1,)), (), "'pad' does not put numbers around planes"),
        (Pad(1, mode="edge"), Pad(1), (), "'y' does not put numbers around planes"),
    ],
    ids=str,
)
def test_refuses(op, pad, before, why):
    graph = padded(op, pad, *before, dtype="float32")
    report = run(graph, FoldPad())
    assert report.graph is graph
    assert why in refusals(report.records[0])["y"]


def test_chains_fold_in_one_run_and_others_keep_the_pad():
    build = Builder()
    x = build("pad2", Pad((1, 0)), build("pad1", Pad(1), build.input(3, 6, 6)))
    conv, act = build("conv", Conv2d(2, 3), x), build("act", Relu(), x)
    after, record = apply(FoldPad(), graph := build.graph(conv, act))
    assert [n.name for n in after.nodes] == ["pad2", "conv", "act"]
    assert after.node("conv").data == ("x",)
    assert after.node("conv").op.padding == (2, 1, 2, 1)
    assert [r.node for r in record.rewrites] == ["pad2", "conv"]
    assert not record.refusals
    after, _ = apply(FoldPad(), graph, limit=1)
    assert after.node("conv").data == ("pad2",)
