"""What plain products are made of: tiles, groups taken together, parts of a batch, phases of a stride."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from strategies import Builder

from nbcnn.errors import NbcnnError
from nbcnn.ir import Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.cuda import kernels
from nbcnn.kernels.cuda.conv_transpose import phases
from nbcnn.kernels.cuda.simt_product import shared_groups
from nbcnn.kernels.cuda.simt_tiles import SMALL, STATIC, TILES, Tile, choose
from nbcnn.kernels.cuda.simt_window import POINT, Axis, Filters, Window, parts
from nbcnn.kernels.layouts import Buffer, Layout, View
from nbcnn.lower.select import contests
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.reshape import Flatten
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

GPU = CudaTarget("a GPU", (9, 0), 132, 228 << 10)
SIMULATOR = replace(GPU, capability=(5, 2), multiprocessors=1, threads=4)


@pytest.mark.parametrize("tile", (*TILES, *SMALL), ids=lambda tile: tile.label)
def test_tiles_are_whole(tile: Tile) -> None:
    lanes = min(tile.threads // tile.slices, 32)
    assert tile.threads & (tile.threads - 1) == 0
    assert tile.bn // tile.tn == tile.lane * tile.warp and lanes % tile.lane == 0
    assert tile.bk % tile.slices == 0 and tile.tm % 4 == tile.tn % 4 == 0
    assert tile.threads % (tile.bn // 4) == 0 and tile.bk % (tile.threads // (tile.bn // 4)) == 0
    for vector in (True, False):
        width = tile.bk // 4 if vector else tile.bk
        if tile.fits(vector, staged=False):
            assert tile.threads % width == 0 and tile.bm % (tile.threads // width) == 0
    assert 2 * 4 * (tile.bk * (tile.bm + 4) + tile.bk * tile.bn) <= STATIC


@pytest.mark.parametrize("target", [GPU, SIMULATOR], ids=["gpu", "simulator"])
@pytest.mark.parametrize("vector", [True, False])
@pytest.mark.parametrize("staged", [True, False])
def test_there_is_a_tile_for_everything(vector: bool, staged: bool, target: CudaTarget) -> None:
    for rows, columns, terms in ((1, 1, 0), (1, 1000, 2048), (50_000, 64, 27), (400_000, 512, 4608)):
        tile = choose(rows, columns, terms, 1, vector, staged, target)
        assert tile.threads <= target.threads and tile.fits(vector, staged)


def test_many_pixels_take_large_tiles_and_few_take_slices() -> None:
    assert choose(100_000, 256, 2304, 1, True, False, GPU) == TILES[0]
    assert choose(100_000, 16, 2304, 1, True, False, GPU).bn == 16
    assert choose(49, 512, 4608, 1, True, False, GPU).slices > 1


@pytest.mark.parametrize(
    "channels, filters, groups, share",
    [
        (64, 64, 1, 1),
        (4, 4, 32, 4),
        (8, 8, 32, 2),
        (32, 32, 4, 1),
        (2, 3, 3, 3),
        (3, 5, 12, 4),
        (1, 1, 64, 16),
    ],
)
def test_groups_taken_together(channels: int, filters: int, groups: int, share: int) -> None:
    assert shared_groups(Window((POINT, POINT, POINT), channels, filters, groups)) == share


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_tensor_cores_win_where_they_may_serve(precision: str) -> None:
    build = Builder()
    x = build("stem", Conv2d(16, 3, stride=2, padding=1), build.input(3, 64, 64))
    x = build("point", Conv2d(64, 1), x)
    x = build("spatial", Conv2d(64, 3, padding=1), x)
    x = build("flat", Flatten(), x)
    graph = build.graph(build("dense", Dense(100), x))
    options = CompileOptions(precision=precision)

    def chosen(target: CudaTarget) -> set[str]:
        return {c.cheapest.kernel.name.partition("_")[0] for c in contests(graph, kernels(), target, options)}

    assert chosen(replace(GPU, precision=precision)) == {"tensor", "alias"}
    assert chosen(replace(GPU, precision=precision, capability=(7, 5))) == {"simt", "alias"}


def test_filters_of_several_groups(rng: np.random.Generator) -> None:
    weight = rng.standard_normal((6, 2, 1, 3)).astype(np.float32)  # 6 groups of 1 filter, 2 channels, 3 taps
    packed = Filters(Weight.of(weight), None, weight.shape, 6).packed(2, 4, 8, Store())
    assert packed.shape == (3, 3, 4, 8)
    for g in range(6):
        found = packed[g // 2, :, 2 * (g % 2) : 2 * (g % 2) + 2, g % 2]
        np.testing.assert_array_equal(found, weight[g, :, 0].T)
    assert np.count_nonzero(packed) == weight.size


def test_a_batch_beyond_32_bits_is_parted() -> None:
    window = Window((POINT, Axis(512, 512), Axis(512, 512)), 64, 64)
    stride = 512 * 512 * 64
    view = View(Buffer("x", 0), Layout("nhwc", (64, 512, 512)), 64, stride)
    found = list(parts(window, (view, view), 300))
    assert [first for first, _ in found] == list(np.cumsum([0, *(n for _, n in found)])[:-1])
    assert sum(n for _, n in found) == 300 and max(n for _, n in found) * stride < 1 << 31
    with pytest.raises(NbcnnError, match="too large"):
        list(parts(window, (replace(view, image_stride=1 << 31),), 1))


@pytest.mark.parametrize(
    "numbers", [(5, 12, 4, 2, 1, 1), (4, 11, 3, 2, 3, 0), (3, 20, 4, 6, 4, 2), (3, 9, 1, 3, 1, 0)]
)
def test_phases_hold_every_tap_of_every_output(numbers: tuple[int, ...]) -> None:
    size, out, kernel, stride, dilation, before = numbers
    reached = set()
    for phase in phases(*numbers):
        axis = phase.axis
        for q in range(axis.out):
            for i, u in enumerate(phase.taps):
                at = q * axis.stride - axis.before + i * axis.dilation
                if 0 <= at < axis.size:
                    reached.add((phase.first + q * stride, u, at))
    spread = {(i * stride + u * dilation - before, u, i) for i in range(size) for u in range(kernel)}
    assert reached == {each for each in spread if 0 <= each[0] < out}
