import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_checks import apply, optimized, refusals, same_values
from strategies import Builder, every_op

from nbcnn.ir import Graph, Weight
from nbcnn.ops.activation import LeakyRelu, Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.split import Split
from nbcnn.passes import optimize
from nbcnn.passes.merge_convs import MergeConvs


def nodes(graph: Graph) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    return [(n.name, n.op.name, n.inputs, n.outputs) for n in graph.nodes]


def block(dtype: str = "float32") -> Graph:
    """Three branches of 4, 3 and 2 channels, a convolution behind each, and their concatenation."""
    build = Builder(dtype)
    x = build.input(5, 6, 6)
    branches = [build(f"r{i}", Relu(), build(f"c{i}", Conv2d(n, 1), x)) for i, n in enumerate((4, 3, 2))]
    values = [build(f"d{i}", Conv2d(4, 3, padding=i, dilation=max(i, 1)), v) for i, v in enumerate(branches)]
    return build.graph(*values)


def test_branches_of_a_block():
    after, record = apply(MergeConvs(), optimized(block()))
    assert every_op(after) == ["[conv2d relu]", "split", *["conv2d"] * 3]
    whole, split, *_ = after.nodes
    assert (whole.name, whole.inputs) == ("r0.merged", ("x", "r0.merged.weight", "r0.merged.bias"))
    assert (split.name, split.inputs, split.outputs) == ("r0.split", ("r0.merged",), ("r0", "r1", "r2"))
    assert split.op == Split((4, 3, 2))
    assert [n.data for n in after.nodes[2:]] == [("r0",), ("r1",), ("r2",)]
    assert [r.what for r in record.rewrites] == ["merged with 'r1', 'r2'"]
    assert not any(w.startswith(("c0", "c1", "c2")) for w in after.weights)


def test_wide_layers_stay():
    after, record = apply(MergeConvs(most=3), optimized(block()))
    assert every_op(after).count("split") == 1
    assert after.node("r1.split").outputs == ("r1", "r2")
    assert refusals(record) == {"r0": "4 channels are more than 3: alone it fills its vectors"}


def test_operands_of_a_concatenation_stay_in_their_place():
    build = Builder()
    x = build.input(5, 6, 6)
    graph = build.graph(build("cat", Concat(), *(build(f"c{i}", Conv2d(2, 1), x) for i in range(2))))
    after, record = apply(MergeConvs(), graph)
    assert after is graph
    assert refusals(record)["c0"] == "'c0' is computed in its place in 'cat' and would be copied there"


def test_heads():
    build = Builder()
    x = build.input(7)
    outputs = [build(f"h{i}", Dense(n, bias=i == 1), x) for i, n in enumerate((2, 5, 1))]
    after, _ = apply(
        MergeConvs(), build.graph({"boxes": outputs[0], "classes": outputs[1], "score": outputs[2]})
    )
    assert nodes(after) == [
        ("h0.merged", "dense", ("x", "h0.merged.weight", "h0.merged.bias"), ("h0.merged",)),
        ("h0.split", "split", ("h0.merged",), ("h0", "h1", "h2")),
    ]
    assert dict(after.outputs) == {"boxes": "h0", "classes": "h1", "score": "h2"}


def test_padding_is_compared_in_numbers_and_no_bias_is_made_up():
    build = Builder()
    x = build.input(2, 5, 5)
    same = build("same", Conv2d(3, 3, padding="same", bias=False), x)
    after, _ = apply(MergeConvs(), build.graph(same, build("one", Conv2d(3, 3, padding=1, bias=False), x)))
    assert every_op(after) == ["conv2d", "split"]
    assert after.nodes[0].op == Conv2d(6, 3, padding="same", bias=False)


def test_masks_join():
    build = Builder()
    x = build.input(4, 5, 5)
    mask = build.rng.random((3, 4, 1, 1)) < 0.5
    w = build.weight("w", build.rng.normal(size=mask.shape), mask)
    a = build("a", Conv2d(3, 1, bias=False), x, weight=w)
    after, _ = apply(MergeConvs(), build.graph(a, build("b", Conv2d(2, 1, bias=False), x)))
    joined = after.weight("a.merged.weight")
    np.testing.assert_array_equal(joined.mask, np.concatenate([mask, np.ones((2, 4, 1, 1), bool)]))


@pytest.mark.parametrize(
    "other",
    [Conv2d(4, 3, padding=1), Conv2d(4, 1, stride=2), Conv2d(4, 1, flip=True), Conv2d(4, 1, groups=2)],
)
def test_other_forms_stay(other):
    build = Builder()
    x = build.input(4, 5, 5)
    graph = build.graph(build("a", Conv2d(4, 1), x), build("b", other, x))
    after, record = apply(MergeConvs(), graph)
    assert after is graph
    assert refusals(record) == ({"b": "'b' is grouped"} if other.groups > 1 else {})


def test_other_tails_stay():
    build = Builder()
    x = build.input(4, 5, 5)
    y = build("first", Relu(), x)
    a = build("ra", Relu(), build("a", Conv2d(4, 1), y))
    b = build("rb", LeakyRelu(0.2), build("b", Conv2d(4, 1), y))
    c = build("c", Conv2d(4, 1), y)
    d = build("sum", Add(), build("d", Conv2d(4, 1), y), x)
    graph = optimized(build.graph(a, b, c, d))
    after, record = apply(MergeConvs(), graph)
    assert after is graph
    assert refusals(record) == {"sum": "'sum' is fused with more than an activation"}


def test_frozen_and_trained_weights_stay_apart():
    build = Builder()
    x = build.input(4, 5, 5)
    a, b = build("a", Conv2d(3, 1, bias=False), x), build("b", Conv2d(3, 1, bias=False), x)
    build.weights["a.weight"] = Weight.of(build.weights["a.weight"].array, trainable=False)
    graph = build.graph(a, b)
    assert apply(MergeConvs(), graph)[0] is graph


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_fan_of_layers(data):
    build = Builder("float64", data.draw(st.integers(0, 99)))
    x = build.input(3, 6, 6)
    values = []
    for i in range(data.draw(st.integers(2, 6))):
        kernel = data.draw(st.sampled_from((1, 3)))
        v = build(f"c{i}", Conv2d(data.draw(st.integers(1, 4)), kernel, padding="same"), x)
        values.append(build(f"r{i}", Relu(), v) if data.draw(st.booleans()) else v)
    graph = build.graph(*values, *(build(f"a{v}", Relu(), v) for v in values))
    after = optimize(optimized(graph), [MergeConvs()])
    same_values(graph, after, 1e-12)
    assert optimize(after, [MergeConvs()]) is after
    assert sum(n.op.name in ("conv2d", "fused") for n in after.nodes) <= 4
