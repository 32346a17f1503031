"""Every sample of the convolutions, pools and norms through its kernel, held to the float64 bound."""

from __future__ import annotations

import numpy as np
import pytest
from sites import check, compiled, families
from strategies import Builder

from nbcnn import ops
from nbcnn.ir import Graph, Node, Sample, Weight
from nbcnn.ops.arithmetic import Add
from nbcnn.passes import run
from nbcnn.passes.fuse_activation import FuseActivation
from nbcnn.passes.fuse_residual_add import FuseResidualAdd

WINDOWS = (
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("max_pool", "avg_pool", "global_avg_pool", "global_max_pool"),
    *("layer_norm", "rms_norm", "instance_norm", "group_norm", "lrn"),
)
WITHOUT = ("with places", "places by column", "axes apart", "with statistics", "wider than the channels")
SAMPLES = [s for name in WINDOWS for s in ops.get(name).samples() if s.error is None]


def graph_of(sample: Sample) -> Graph:
    """A graph of the one node, with random weights."""
    rng = np.random.default_rng(5)
    params = sample.op.params(*sample.types)
    drawn = {k: rng.uniform(0.5, 1.5, p.type.shape).astype(np.float32) for k, p in params.items()}
    signed = {k: a * rng.choice(np.float32([-1, 1]), a.shape) for k, a in drawn.items()}
    weights = {k: Weight.of(drawn[k] if params[k].init == "running_var" else a) for k, a in signed.items()}
    node = Node("y", sample.op, ("x", *weights), ("y",))
    return Graph.build("one", {"x": sample.types[0]}, [node], weights, ("y",))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.op.name}-{s.note or s.types[0].shape}")
def test_every_sample_has_a_kernel(sample: Sample) -> None:
    if sample.note in WITHOUT:
        pytest.skip("the reference computes it")
    check(graph_of(sample))


@pytest.mark.parametrize("op", [("conv_transpose2d", 24, 3, 2, 1, 1), ("conv_transpose1d", 20, 4, 2, 1)])
@pytest.mark.parametrize("name", ("relu", "silu"))
def test_what_follows_a_transposed_convolution_is_computed_with_it(op: tuple, name: str) -> None:
    word, *numbers = op
    build = Builder()
    x = build.input(*(8, 5, 9)[: 1 + int(word[-2])])
    y = build("up", ops.get(word)(*numbers), x)
    skip = build("skip", ops.get(word)(*numbers), x)
    graph = build.graph(build("act", ops.get(name)(), build("sum", Add(), y, skip)))
    fused = run(graph, [FuseResidualAdd(), FuseActivation()]).graph
    check(fused)
    assert [len(node.op.body.nodes) for node in fused.nodes if node.op.name == "fused"] == [3]


@pytest.mark.parametrize("op", [("group_norm", 4), ("instance_norm",)])
def test_what_follows_a_norm_is_computed_with_it(op: tuple) -> None:
    build = Builder()
    x = build("norm", ops.get(op[0])(*op[1:]), build.input(20, 5, 9))
    fused = run(build.graph(build("act", ops.get("silu")(), x)), [FuseActivation()]).graph
    assert len(fused.nodes) == 1
    check(fused)


def test_counting_the_pixels_otherwise_moves_nothing() -> None:
    build = Builder()
    x = build("volume", ops.get("conv3d")(8, 3, padding=1), build.input(5, 2, 4, 6))
    x = build("signal", ops.get("conv1d")(12, 3), build("flat", ops.get("flatten")(2), x))
    graph = build.graph(
        build("image", ops.get("relu")(), build("shape", ops.get("reshape")(("N", 12, 2, 23)), x))
    )
    check(graph)
    assert families(compiled(graph, 16)).count("layout") == 2  # in and out


def test_means_far_from_zero() -> None:
    for op, shape in (("layer_norm", (300,)), ("instance_norm", (5, 40, 40)), ("group_norm", (6, 300))):
        build = Builder()
        x = build("shift", Add(), build.input(*shape), build.weight("c", np.full((1,) * len(shape), 100.0)))
        check(build.graph(build("norm", ops.get(op)(*((3,) if op == "group_norm" else ())), x)))


def test_what_has_no_kernel_yet_says_so() -> None:
    sample = next(s for s in ops.get("max_pool").samples() if getattr(s.op, "indices", False))
    node = Node("y", sample.op, ("x",), ("y", "places"))
    graph = Graph.build("one", {"x": sample.types[0]}, [node], {}, ("y", "places"))
    assert "reference" in families(compiled(graph, 16))
