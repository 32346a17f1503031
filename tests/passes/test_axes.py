"""The fusing passes on signals and volumes: the same rewrites as on images, and the same refusals."""

import math

import numpy as np
import pytest
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn import ops, reference
from nbcnn.ir import Graph, Node
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes.fold_pad import FoldPad
from nbcnn.passes.fuse_activation import FuseActivation
from nbcnn.passes.fuse_conv_bn import FuseConvBn
from nbcnn.passes.fuse_residual_add import FuseResidualAdd
from nbcnn.passes.fuse_scale_shift import FuseScaleShift
from nbcnn.passes.merge_convs import MergeConvs
from nbcnn.passes.spatial_avg_pool import SpatialAvgPool

SHAPES = {1: (3, 9), 2: (3, 6, 5), 3: (3, 4, 5, 6)}
RANKS = pytest.mark.parametrize("rank", (1, 2, 3))


def conv(rank: int, *args, **options):
    return ops.get(f"conv{rank}d")(*args, **options)


def agree(before: Graph, after: Graph) -> None:
    """The same results, but for the rounding of float64."""
    rng = np.random.default_rng(3)
    inputs = {k: rng.standard_normal(t.extents(2)) for k, t in before.inputs.items()}
    want, got = reference.run(before, inputs), reference.run(after, inputs)
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-10, atol=1e-12)


@RANKS
@pytest.mark.parametrize("transposed", (False, True))
def test_batch_norm_behind_and_before(rank: int, transposed: bool) -> None:
    build = Builder("float64")
    kind = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    x = build("layer", ops.get(kind)(4, 3, stride=2, padding=1, bias=False), build.input(*SHAPES[rank]))
    graph = build.graph(build("bn", BatchNorm(), x))
    after, _ = apply(FuseConvBn(), graph)
    assert every_op(after) == [kind]
    agree(graph, after)


@RANKS
def test_batch_norm_before_a_transposed_convolution_stays(rank: int) -> None:
    build = Builder("float64")
    x = build("bn", BatchNorm(), build.input(*SHAPES[rank]))
    graph = build.graph(build("up", ops.get(f"conv_transpose{rank}d")(4, 2, 2), x))
    after, record = apply(FuseConvBn(), graph)
    assert after is graph
    assert "numbers of taps" in refusals(record)["bn"]


@RANKS
def test_a_scale_and_a_shift_for_each_channel(rank: int) -> None:
    build = Builder("float64")
    x = build("conv", conv(rank, 4, 3), build.input(*SHAPES[rank]))
    column = (4,) + (1,) * rank
    x = build("scaled", Mul(), x, build.weight("s", build.rng.uniform(1, 2, column)))
    x = build("shifted", Add(), x, build.weight("t", build.rng.uniform(1, 2, column)))
    graph = build.graph(x)
    after, _ = apply(FuseScaleShift(), graph)
    assert every_op(after) == [f"conv{rank}d"]
    agree(graph, after)


@RANKS
def test_residual_and_activation(rank: int) -> None:
    build = Builder("float64")
    x = build.input(*SHAPES[rank])
    y = build("conv", conv(rank, 3, 3, padding=1), x)
    graph = build.graph(build("act", Relu(), build("sum", Add(), y, x)))
    added, _ = apply(FuseResidualAdd(), graph)
    assert every_op(added) == [f"[conv{rank}d add]", "relu"]
    after, _ = apply(FuseActivation(), added)
    assert every_op(after) == [f"[conv{rank}d add relu]"]
    agree(graph, after)


@RANKS
def test_merged_convolutions(rank: int) -> None:
    build = Builder("float64")
    x = build.input(*SHAPES[rank])
    graph = build.graph(*(build(name, conv(rank, 4, 3, padding="same"), x) for name in "ab"))
    after, _ = apply(MergeConvs(), graph)
    assert every_op(after) == [f"conv{rank}d", "split"]
    agree(graph, after)


@RANKS
@pytest.mark.parametrize("uneven", (False, True))
def test_pads_are_folded(rank: int, uneven: bool) -> None:
    sides = (*(0, 1, 0)[:rank], *(1,) * rank) if uneven else 1
    axes = tuple(range(2, rank + 2))
    for op, value in (
        (conv(rank, 4, 2, 2), 0.0),
        (conv(rank, 4, 3, padding="same_lower"), 0.0),
        (AvgPool(3, 2), 0.0),
        (AvgPool(2, 1, dilation=2), 0.0),
        (MaxPool(3, 2), -math.inf),
        (MaxPool((3,) * rank, (2, *(1,) * (rank - 1)), 1), -math.inf),
    ):
        build = Builder("float64")
        pad = build("pad", Pad(sides, value, axes=axes), build.input(*SHAPES[rank]))
        graph = build.graph(build("y", op, pad))
        after, record = apply(FoldPad(), graph)
        assert every_op(after) == [op.name], refusals(record)
        agree(graph, after)


def test_places_of_maxima_are_those_of_the_operand() -> None:
    build = Builder("float64")
    build.input(3, 9)
    build("pad", Pad(1, -9.0, axes=(2,)), "x")
    op = MaxPool(3, 1, indices=True)
    graph = Graph.build(
        "test",
        build.inputs,
        [*build.nodes, Node("y", op, ("pad",), ("y", "places"))],
        build.weights,
        ("y", "places"),
    )
    after, record = apply(FoldPad(), graph)
    assert after is graph
    assert "tells where" in refusals(record)["y"]
    after, record = apply(SpatialAvgPool(), graph)
    assert after is graph
    assert "tells where" in refusals(record)["y"]
