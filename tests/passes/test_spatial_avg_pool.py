import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pass_checks import apply, refusals
from strategies import Builder, every_op

from nbcnn import reference
from nbcnn.errors import PassError, ShapeError
from nbcnn.ops.activation import Relu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes import Pipeline
from nbcnn.passes.spatial_avg_pool import SpatialAvgPool


def one_conv(op: Conv2d, size: tuple[int, int] = (8, 8), channels: int = 4):
    build = Builder("float64")
    return build.graph(build("act", Relu(), build("conv", op, build.input(channels, *size))))


def in_cells(shape: tuple[int, int], cell: tuple[int, int], channels: int = 4) -> np.ndarray:
    """An image that does not vary within cells."""
    coarse = np.random.default_rng(3).normal(size=(2, channels, *shape))
    return coarse.repeat(cell[0], axis=2).repeat(cell[1], axis=3)


def test_max_pool_becomes_avg_pool():
    build = Builder("float64")
    graph = build.graph(build("pool", MaxPool(3, 2, 1, ceil_mode=True), build.input(3, 8, 8)))
    after, record = apply(SpatialAvgPool(), graph)
    assert after.node("pool").op == AvgPool(3, 2, 1, ceil_mode=True)
    assert record.rewrites[0].what == "max_pool 3x3 to avg_pool"


@pytest.mark.parametrize(
    "op, kernel, padding",
    [
        (Conv2d(6, 1, stride=2), (1, 1), (0, 0, 0, 0)),
        (Conv2d(6, 3, stride=2, padding=1), (2, 2), (1, 1, 0, 0)),
        (Conv2d(6, 7, stride=2, padding=3), (4, 4), (2, 2, 1, 1)),
        (Conv2d(6, 2, stride=2, bias=False), (1, 1), (0, 0, 0, 0)),
        (Conv2d(6, 3, stride=(2, 1), padding=1), (2, 3), (1, 1, 0, 1)),
    ],
    ids=str,
)
def test_a_strided_conv_runs_on_the_pooled_plane(op, kernel, padding):
    graph = one_conv(op)
    after, record = apply(SpatialAvgPool(), graph)
    assert every_op(after) == ["avg_pool", "conv2d", "relu"]
    assert after.node("conv.pool").op == AvgPool(op.stride, ceil_mode=True)
    conv = after.node("conv").op
    assert (conv.kernel, conv.padding, conv.stride) == (kernel, padding, (1, 1))
    assert after.macs * op.kernel[0] * op.kernel[1] == graph.macs * kernel[0] * kernel[1]
    assert "conv.weight" not in after.weights
    assert record.rewrites[0].what.endswith(f"to {kernel[0]}x{kernel[1]}")


@settings(max_examples=80, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*[st.integers(0, 3)] * 4)),
    groups=st.sampled_from([1, 2, 4]),
    flip=st.booleans(),
)
def test_exact_where_the_input_does_not_vary_within_cells(kernel, stride, padding, groups, flip):
    assume(stride != (1, 1))
    op = Conv2d(4, kernel, stride, padding, groups=groups, flip=flip)
    try:
        graph = one_conv(op, (4 * stride[0], 3 * stride[1]))
    except ShapeError:
        assume(False)
    after, _ = apply(SpatialAvgPool(), graph)
    image = in_cells((4, 3), stride)
    for name, want in reference.run(graph, image).items():
        np.testing.assert_allclose(reference.run(after, image)[name], want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_planes_that_cells_do_not_fill(kernel, size):
    graph = one_conv(Conv2d(5, kernel, stride=3), (size, size))
    after, _ = apply(SpatialAvgPool(), graph)
    assert "avg_pool" in every_op(after)


def test_masked_taps_stay_masked():
    mask = np.ones((6, 4, 3, 3), bool)
    mask[:, :, 1:, 1:] = False  # one whole cell of the new kernel
    mask[0, 0, 0, 1] = False  # and a part of one
    build = Builder("float64")
    x = build.input(4, 8, 8)
    w = build.weight("w", np.ones((6, 4, 3, 3)), mask)
    after, _ = apply(
        SpatialAvgPool(), build.graph(build("conv", Conv2d(6, 3, stride=2, padding=1), x, weight=w))
    )
    new = after.weight(after.node("conv").weights[0])
    assert new.mask is not None
    assert not new.mask[:, :, 1, 1].any()
    assert new.mask.sum() == 6 * 4 * 3


def test_chooses_nodes_and_refuses_dilation_and_small_planes():
    build = Builder("float64")
    x = build("pool", MaxPool(2, 1), build.input(4, 12, 12))
    x = build("dilated", Conv2d(4, 3, stride=2, dilation=2), x)
    x = build("plain", Conv2d(4, 3), x)
    x = build("tiny", Conv2d(4, 1, stride=3), x)
    graph = build.graph(x)
    after, record = apply(SpatialAvgPool(nodes=("d*", "plain", "tiny", "conv9")), graph)
    assert after is graph
    assert refusals(record) == {
        "conv9": "no node has such a name",
        "dilated": "is dilated by 2x2",
        "tiny": "cells of 3x3 are larger than the plane, 2x2",
    }


def test_a_shared_weight_stays_for_the_other():
    build = Builder("float64")
    x = build.input(4, 8, 8)
    build.weight("w", np.ones((4, 4, 3, 3)))
    a, b = (build(name, Conv2d(4, 3, stride=2), x, weight="w") for name in "ab")
    after, _ = apply(SpatialAvgPool(nodes=("a",)), build.graph(a, b))
    assert after.node("b").weights[0] == "w"
    assert after.node("a").op.kernel == (2, 2)


def test_limit():
    build = Builder("float64")
    x = build("conv", Conv2d(4, 3, stride=2), build("pool", MaxPool(2), build.input(3, 12, 12)))
    graph = build.graph(x)
    assert every_op(apply(SpatialAvgPool(), graph, limit=1)[0]) == ["avg_pool", "conv2d"]
    assert every_op(apply(SpatialAvgPool(), graph, limit=2)[0]) == ["avg_pool", "avg_pool", "conv2d"]


def test_spec():
    pass_ = SpatialAvgPool(nodes=("pool*",))
    assert str(pass_) == "spatial-avg-pool{nodes=[pool*]}"
    assert Pipeline.of(str(pass_)).steps == (pass_,)
    assert str(pass_.contract).startswith("lossy(output_error")
    with pytest.raises(PassError, match="did you mean 'nodes'"):
        Pipeline.of("spatial-avg-pool{node=[pool1]}")
