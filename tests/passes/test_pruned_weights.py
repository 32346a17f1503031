"""Masks and marks of sparsity through the passes that make new weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from pass_checks import apply, optimized, refusals
from strategies import Builder, graphs

from nbcnn.ir import Sparsity
from nbcnn.ops.activation import Relu
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import prune_patterns
from nbcnn.passes.fuse_conv_bn import FuseConvBn
from nbcnn.passes.merge_convs import MergeConvs
from nbcnn.passes.prune import Prune
from nbcnn.passes.prune_layers import layers
from nbcnn.passes.remove_dead_channels import RemoveDeadChannels
from nbcnn.passes.separate_convs import SeparateConvs
from nbcnn.passes.sparsify import Sparsify
from nbcnn.passes.spatial_avg_pool import SpatialAvgPool

ALL = Prune(0.75, pattern="1x4", keep=())


def marked(build: Builder, *outputs: str, prune: Prune = ALL):
    return optimized(build.graph(*outputs), [prune, Sparsify()])


def test_a_folded_batch_norm():
    build = Builder()
    build("bn", BatchNorm(), build("conv", Conv2d(8, 3), build.input(8, 5, 5)))
    graph = marked(build, "bn")
    after, _ = apply(FuseConvBn(), graph)
    old, new = graph.weight("conv.weight"), after.weight("bn.folded_weight")
    assert new.sparsity == old.sparsity == Sparsity(0.75, 4, "1x4")
    np.testing.assert_array_equal(new.mask, old.mask)


def test_a_batch_norm_that_scales_channels_to_zero_is_looked_at_anew():
    build = Builder()
    scale = build.weight("s", np.repeat([0.0, 1.0], 4))
    build("bn", BatchNorm(), build("conv", Conv2d(8, 1), build.input(8, 5, 5)), weight=scale)
    after, _ = apply(FuseConvBn(), marked(build, "bn"))
    found = after.weight("bn.folded_weight").sparsity
    assert found.zeros > 0.8
    assert found == prune_patterns.found(after.weight("bn.folded_weight").array)


def test_merged_layers():
    build = Builder()
    x = build.input(16, 5, 5)
    graph = marked(build, build("a", Conv2d(8, 1, bias=False), x), build("b", Conv2d(12, 1, bias=False), x))
    after, _ = apply(MergeConvs(), graph)
    merged = after.weight("a.merged.weight")
    assert merged.sparsity == Sparsity(0.75, 4, "1x4")
    assert merged.mask.mean() == 0.25


def test_dead_channels():
    build = Builder()
    build.weight("dead", np.zeros(16))
    x = build("a", Conv2d(16, 1), build.input(8, 5, 5), bias="dead")
    x = build("wise", Conv2d(16, 3, groups=16), x, bias="dead")
    graph = build.graph(build("b", Conv2d(8, 1), x))
    graph = optimized(graph, [Prune(0.5, pattern="channel", keep=("wise", "b")), Prune(0.5, keep=("a", "b"))])
    after, _ = apply(RemoveDeadChannels(), optimized(graph, [Sparsify()]))
    assert after.weight("a.live_weight").sparsity is None
    wise = after.weight("wise.live_weight")
    assert wise.sparsity == prune_patterns.found(wise.array, groups=len(wise.array))


def test_pooled_taps():
    build = Builder()
    x = build("conv", Conv2d(8, 3, 2, padding=1), build.input(4, 8, 8))
    after, _ = apply(SpatialAvgPool(), marked(build, x))
    weight = after.weight("conv.pooled_weight")
    assert weight.sparsity == prune_patterns.found(weight.array)
    assert weight.sparsity.block == 4


def test_separating_would_fill_the_zeros():
    build = Builder()
    graph = marked(build, build("conv", Conv2d(16, 3), build.input(16, 8, 8)))
    assert refusals(apply(SeparateConvs(), graph)[1]) == {
        "conv": "'conv.weight' is pruned: its zeros would be filled in"
    }


@pytest.mark.parametrize("pipeline", ["default", "max"])
@settings(max_examples=40, deadline=None)
@given(graph=graphs("float64"))
def test_whatever_the_pipeline_does_masks_hold_and_sparsify_agrees(pipeline, graph):
    """Marked early or late: the same marks; and no element that is masked is anything but zero."""
    pruned = optimized(graph, [Prune(0.7, keep=())])
    early = optimized(optimized(pruned, [Sparsify()]), pipeline)
    late = optimized(optimized(pruned, pipeline), [Sparsify()])
    for layer in layers(early):
        weight = early.weight(layer.weight)
        if weight.mask is not None:
            assert not weight.array[~weight.mask].any()
        if weight.sparsity:
            assert weight.sparsity == prune_patterns.found(weight.array, layer.groups)
        if weight.sparsity and weight.sparsity.zeros >= 0.5:
            assert weight.sparsity == late.weight(layer.weight).sparsity


def test_a_mark_survives_fusion():
    build = Builder()
    x = build("act", Relu(), build("bn", BatchNorm(), build("conv", Conv2d(8, 3), build.input(8, 5, 5))))
    after = optimized(marked(build, x))
    (node,) = after.nodes
    assert after.weight(node.weights[0]).sparsity.pattern == "1x4"
