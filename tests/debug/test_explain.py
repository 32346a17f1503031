import pytest
from strategies import Builder

from nbcnn.debug.explain import fate, near_misses, where, why_not
from nbcnn.errors import GraphError, PassError
from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import optimize, run

PASSES = "fuse-conv-bn, fuse-activation"


def network() -> Graph:
    """conv1 folds; conv2 is a result of the graph and must stay."""
    build = Builder()
    x = build("bn1", BatchNorm(), build("conv1", Conv2d(4, (3, 3), bias=False), build.input(3, 8, 8)))
    y = build("conv2", Conv2d(4, (3, 3), bias=False), build("relu1", Relu(), x))
    return build.graph(build("relu2", Relu(), build("bn2", BatchNorm(), y)), y)


def test_the_fate_of_a_node():
    graph = network()
    conv, act = fate(graph, PASSES, "conv1")
    assert conv.rewrites == ("rewrite 1 at 'bn1': folded into 'conv1'",)
    assert (conv.before, conv.after, conv.touched) == ("a node", "gone", True)
    assert (act.before, act.after, act.touched) == ("gone", "gone", False)
    assert [(v.before, v.after) for v in fate(graph, PASSES, "bn1")] == [
        ("a node", "a node"),
        ("a node", "inside 'relu1'"),
    ]
    assert where(optimize(graph, PASSES), "relu1") == "a node"


@pytest.mark.parametrize(
    "name, node, says",
    [
        ("fuse-conv-bn", "conv1", "it was rewritten by rewrite 1 at 'bn1': folded into 'conv1'"),
        ("fuse-conv-bn", "bn2", "refused at 'bn2': 'conv2' is an output of the graph"),
        ("fuse-conv-bn", "conv2", "refused at 'bn2': 'conv2' is an output of the graph"),
        ("fuse-conv-bn", "relu2", "'relu2' is not a candidate: fuse-conv-bn looks for a convolution"),
        (
            "fuse-activation",
            "conv1",
            "'conv1' was gone when the pass ran since pass 1, fuse-conv-bn (rewrite 1",
        ),
        ("remove-identity", "relu2", "'remove-identity' is not in the pipeline; tried after it"),
        (
            "remove-identity",
            "bn1",
            "'bn1' was inside 'relu1' when the pass ran since pass 2, fuse-activation",
        ),
    ],
)
def test_why_not(name, node, says):
    assert says in "\n".join(why_not(network(), PASSES, name, node))


def test_near_misses_of_all_passes_or_of_one():
    records = run(network(), PASSES).records
    assert [(m.number, m.step, m.node) for m in near_misses(records, "fuse-conv-bn")] == [
        (1, "fuse-conv-bn", "bn2")
    ]
    assert near_misses(records)[0] in near_misses(records, "fuse-conv-bn{}")
    assert near_misses(records, "remove-dead") == []


def test_unknown_names():
    with pytest.raises(GraphError, match="did you mean 'conv2'"):
        why_not(network(), PASSES, "fuse-conv-bn", "konv2")
    with pytest.raises(PassError, match="did you mean 'fuse-conv-bn'"):
        why_not(network(), PASSES, "fuse-con-bn", "conv2")
