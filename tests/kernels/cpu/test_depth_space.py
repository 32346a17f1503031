"""depth_to_space and space_to_depth, from the caller's order and from a kernel's."""

from __future__ import annotations

import pytest
from sites import as_pixels, check
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
