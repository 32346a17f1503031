"""remove-dead, remove-identity and fold-constants."""

import numpy as np
import pytest
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add, Div, Minimum, Mul, Pow, Sub
from nbcnn.ops.blocks import DepthToSpace, SpaceToDepth
from nbcnn.ops.cast import Cast, Identity
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.elementary import Exp
from nbcnn.ops.pad import Pad
from nbcnn.ops.piecewise import Clip
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reduce import ReduceL2, ReduceMax, ReduceMean, ReduceProd, ReduceSum
from nbcnn.ops.repeat import Expand, Tile
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.resize import Resize
from nbcnn.ops.slice import END, Slice
from nbcnn.ops.split import Split
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze
from nbcnn.passes.fold_constants import FoldConstants
from nbcnn.passes.remove_dead import RemoveDead
from nbcnn.passes.remove_identity import RemoveIdentity


def test_dead_branches_go_with_their_weights_and_inputs_stay():
    build = Builder()
    x, unused = build.input(3, 5, 5), build.input(3, 5, 5, name="unused")
    build("dead2", Relu(), build("dead1", Conv2d(2, 3), unused))
    build("dead3", Relu(), x)
    graph = build.graph(build("live", Relu(), x))
    after, record = apply(RemoveDead(), graph)
    assert [n.name for n in after.nodes] == ["live"]
    assert not after.weights
    assert set(after.inputs) == {"x", "unused"}
    assert [r.node for r in record.rewrites] == ["dead3", "dead2"]
    after, _ = apply(RemoveDead(), graph, limit=1)
    assert {n.name for n in after.nodes} == {"live", "dead1", "dead2"}


def test_nothing_dead_nothing_done():
    build = Builder()
    y = build("conv", Conv2d(2, 3), build.input(3, 5, 5))
    build("act", Relu(), y)
    after, _ = apply(RemoveDead(), graph := build.graph("conv", "act"))
    assert after is graph


def test_identities_go():
    build = Builder()
    x = build("drop1", Dropout(), build("first", Relu(), build.input(3, 5, 5)))
    x = build("pool2", AvgPool(1, 1), build("pool1", MaxPool(1), x))
    x = build("cat", Concat(), build("shape", Reshape(("N", 3, 5, 5)), x))
    x = build("flat2", Flatten(), build("flat1", Flatten(), x))
    after, record = apply(RemoveIdentity(), build.graph({"y": build("drop2", Dropout(), x)}))
    assert every_op(after) == ["relu", "flatten"]
    assert dict(after.outputs) == {"y": "flat1"}
    assert len(record.rewrites) == 7
    assert set(record.gone) == {"drop1", "pool1", "pool2", "shape", "cat", "flat2", "drop2"}
    after, _ = apply(RemoveIdentity(), build.graph({"y": "drop2"}), limit=2)
    assert "pool2" in after
    assert "pool1" not in after


def test_pads_and_means_of_nothing_more_go():
    build = Builder()
    x = build("pool", GlobalMaxPool(), build("pad", Pad(0), build.input(3, 5, 5)))
    x = build("mean", ReduceMean((2, 3)), build("gap", GlobalAvgPool(), x))
    after, _ = apply(RemoveIdentity(), build.graph(build("act", Relu(), x)))
    assert every_op(after) == ["global_max_pool", "relu"]


@pytest.mark.parametrize(
    "op",
    [
        Pad((0, 0), axes=(0, 1), mode="edge"),
        Slice((0, -9), (99, 5), (1, 2)),
        Slice((0, 0), (END, END)),
        Slice((-1,), (-END,), (3,), (-2,)),
        Transpose((0, 1, 2, 4, 3)),
        Expand(("N", 1, 1, 1, 1)),
        Tile((1, 1, 1, 1, 1)),
        Split((4,)),
        Squeeze(()),
        Unsqueeze(()),
        DepthToSpace(1),
        SpaceToDepth(1),
        Resize((1.0, 1.0), mode="cubic"),
        Resize(sizes=(5, 1, 1), mode="linear", antialias=True, inside_only=True),
        ReduceMax((3,)),
        ReduceSum(()),
        ReduceProd((3,)),
        MaxPool((1, 1, 1), 1),
        Identity(),
        Cast("float32"),
        Clip(),
    ],
    ids=str,
)
def test_new_identities_go(op):
    build = Builder()
    shape = (4, 5, 1) if op.name in ("depth_to_space", "space_to_depth") else (4, 5, 1, 1)
    x = build("y", op, build("first", Relu(), build.input(*shape)))
    after, _ = apply(RemoveIdentity(), build.graph(build("last", Relu(), x)))
    assert [n.name for n in after.nodes] == ["first", "last"]


@pytest.mark.parametrize(
    "op, number, left",
    [
        *((Add(), 0, True), (Add(), 0, False), (Sub(), 0, False), (Mul(), 1, True), (Mul(), 1, False)),
        *((Div(), 1, False), (Pow(), 1, False)),
    ],
    ids=str,
)
def test_constants_that_change_nothing_go(op, number, left):
    for value, shape, goes in (
        (number, (4, 1), True),
        (number + 1, (4, 1), False),
        (number, (2, 1, 4, 4), False),
    ):
        build = Builder()
        x = build("first", Exp(), build.input(1 if len(shape) > 2 else 4, 4))
        constant = build.weight("constant", np.full(shape, value))
        y = build("y", op, *((constant, x) if left else (x, constant)))
        after, _ = apply(RemoveIdentity(), build.graph(build("last", Relu(), y)))
        assert [n.name for n in after.nodes] == (["first", "last"] if goes else ["first", "y", "last"])
        assert set(after.weights) == (set() if goes else {"constant"})


@pytest.mark.parametrize("op, number", [(Sub(), 0), (Div(), 1), (Pow(), 1), (Minimum(), 0)], ids=str)
def test_constants_on_the_wrong_side_stay(op, number):
    build = Builder()
    x = build("first", Exp(), build.input(4, 4))
    graph = build.graph(build("y", op, build.weight("constant", np.full((4, 1), number)), x))
    assert apply(RemoveIdentity(), graph)[0] is graph


@pytest.mark.parametrize(
    "op",
    [
        Pad((1, 0, -1, 0)),
        Slice((-1,), (-END,), (2,), (-1,)),
        Transpose((0, 2, 1, 3)),
        Resize((1.0, 1.2), mode="linear"),
        Resize(sizes=(4,), coordinates="tf_crop_and_resize", region=(0.0, 0.5)),
        ReduceL2((2, 3)),
        ReduceSum((1,)),
        Clip(-9.0),
    ],
    ids=str,
)
def test_near_identities_stay(op):
    build = Builder()
    x = build("y", op, build("first", Relu(), build.input(4, 4, 4)))
    after, _ = apply(RemoveIdentity(), build.graph(build("last", Relu(), x)))
    assert [n.name for n in after.nodes] == ["first", "y", "last"]


def test_what_only_looks_like_an_identity_stays():
    build = Builder()
    x = build("strided", MaxPool(1, 2), build.input(4, 4, 4))
    x = build("padded", AvgPool(1, 1, "same"), build("wide", MaxPool(3, 1, 1), x))
    x = build("cat", Concat(), x, x)
    x = build("shape", Reshape(("N", 4, 4, 2)), x)
    after, _ = apply(RemoveIdentity(), build.graph(x))
    assert [n.name for n in after.nodes] == ["strided", "wide", "cat", "shape"]


def test_an_output_stays_computed():
    build = Builder()
    graph = build.graph(build("drop2", Dropout(), build("drop1", Dropout(), build.input(3))))
    after, record = apply(RemoveIdentity(), graph)
    assert [n.name for n in after.nodes] == ["drop2"]
    assert "drop2" in refusals(record)


def test_constants_fold_and_keep_their_names():
    build = Builder()
    x = build.input(3, 4, 4)
    build.weight("a", np.arange(3.0).reshape(1, 3, 1, 1))
    build.weight("b", np.full((1, 1, 4, 4), 0.1))
    total = build("total", Mul(), build("sum", Add(), "a", "b"), "a")
    graph = build.graph(build("y", Add(), x, total))
    after, record = apply(FoldConstants(), graph)
    assert every_op(after) == ["add"]
    assert set(after.weights) == {"total"}
    assert after.node("y").inputs == ("x", "total")
    assert after.weight("total").type == graph.type("total")
    assert after.weight("total").trainable
    assert [r.node for r in record.rewrites] == ["sum", "total"]
    assert record.gone == ("sum",)
    after, _ = apply(FoldConstants(), graph, limit=1)
    assert set(after.weights) == {"sum", "a"}


def test_constant_outputs_and_half_constants_stay():
    build = Builder()
    x = build.input(3)
    build.weight("a", np.ones((1, 3)))
    graph = build.graph(build("half", Add(), x, "a"), build("whole", Relu(), "a"))
    after, record = apply(FoldConstants(), graph)
    assert after is graph
    assert refusals(record) == {"whole": "'whole' is an output of the graph"}
