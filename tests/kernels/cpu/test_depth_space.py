"""depth_to_space and space_to_depth, from the caller's order and from a kernel's."""

from __future__ import annotations

import pytest
from single_node import as_pixels
from sites import check, compiled
from strategies import Builder

from nbcnn.ops.blocks import DepthToSpace, SpaceToDepth


@pytest.mark.parametrize("mode", ("DCR", "CRD"))
@pytest.mark.parametrize("channels, block", [(3, 2), (16, 2), (21, 2), (1, 3), (5, 4), (33, 1)])
def test_there_and_back(channels: int, block: int, mode) -> None:
    build = Builder()
    x = build.input(channels * block * block, 3, 5)
    y = as_pixels(build, x)
    wide = [build(f"wide.{v}", DepthToSpace(block, mode), v) for v in (x, y)]
    deep = [build(f"deep.{v}", SpaceToDepth(block, mode), v) for v in wide]
    check(build.graph(*wide, *deep))


@pytest.mark.parametrize("mode", ("DCR", "CRD"))
def test_of_an_image(mode) -> None:
    build = Builder()
    check(build.graph(build("deep", SpaceToDepth(2, mode), build.input(3, 32, 18))))


def test_blocks_are_woven_in_registers() -> None:
    build = Builder()
    x = as_pixels(build, build.input(64, 3, 5))
    wide = build("wide", DepthToSpace(2, "CRD"), x)
    graph = build.graph(build("deep", SpaceToDepth(2, "CRD"), wide))
    kernels = [row.kernel for row in compiled(graph, 16).explain() if row.family == "depth_space"]
    assert [k.partition("__")[0] for k in kernels] == ["f32_unweave4", "f32_weave4"]
