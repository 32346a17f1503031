"""Plain convolutions and dense layers on a device: geometries, groups, tiles, epilogues, kinds of storage."""

from __future__ import annotations

import pytest
from conv_sites import excess, site_of
from launch_plain import KINDS

from nbcnn.ir import TensorType
from nbcnn.kernels.cuda.simt_conv import SimtConv, SimtDense
from nbcnn.kernels.cuda.simt_tiles import SMALL, TILES
from nbcnn.kernels.layouts import Layout, nhwc
from nbcnn.ops.activation import Relu, Sigmoid, Silu
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.dense import Dense

kinds = pytest.mark.parametrize("kind", KINDS)


def image(*shape: int) -> TensorType:
    return TensorType(("N", *shape))


CASES = {
    "3x3": (Conv2d(5, 3, padding=1), image(3, 5, 4)),
    "1x1": (Conv2d(9, 1), image(6, 3, 3)),
    "1x1 strided": (Conv2d(4, 1, stride=2), image(5, 5, 4)),
    "uneven": (Conv2d(4, (2, 3), stride=(2, 1), padding=(0, 1, 2, 3)), image(3, 5, 4)),
    "dilated": (Conv2d(3, 3, dilation=2, padding=2, bias=False), image(4, 5, 5)),
    "same_lower": (Conv2d(3, 3, stride=2, padding="same_lower"), image(1, 6, 5)),
    "flipped": (Conv2d(3, 3, padding=1, flip=True), image(2, 3, 4)),
    "covers": (Conv2d(6, (3, 2)), image(5, 3, 2)),
    "padding only": (Conv2d(3, 1, stride=3, padding=2), image(2, 2, 2)),
    "groups": (Conv2d(8, 3, padding=1, groups=2), image(8, 3, 3)),
    "groups of 3": (Conv2d(9, 2, groups=3), image(6, 3, 3)),
    "groups of 17": (Conv2d(34, 1, groups=2), image(6, 2, 1)),
    "many groups": (Conv2d(48, 1, groups=24), image(24, 2, 1)),
    "signal": (Conv1d(6, 4, stride=2, padding=(3, 1)), image(3, 9)),
    "volume": (
        Conv3d(5, (2, 3, 2), stride=(1, 2, 1), padding=(1, 1, 0), dilation=(2, 1, 1)),
        image(2, 4, 3, 3),
    ),
    "volume 1x1": (Conv3d(3, 1), image(3, 2, 2, 2)),
}


@kinds
@pytest.mark.parametrize("case", CASES)
def test_geometries(case: str, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtConv(), site_of(op, x, rng), kind, rng) <= 1


@pytest.mark.parametrize("tile", SMALL, ids=lambda t: t.label)
@pytest.mark.parametrize("case", ["3x3", "1x1", "groups of 3", "volume"])
def test_tiles(case: str, tile, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtConv(tile), site_of(op, x, rng), "f32", rng) <= 1


@pytest.mark.parametrize("tile", TILES, ids=lambda t: t.label)
@pytest.mark.parametrize("groups", [1, 2])
def test_tiles_of_a_gpu(groups: int, tile, rng) -> None:
    """One column of tiles, and a little more than one row of them."""
    if tile.fits(groups == 1, groups > 1):
        op = Conv2d(tile.bn - 2, 1) if groups == 1 else Conv2d(2 * tile.bn - 2, (1, 2), groups=2)
        x = image(9 if groups == 1 else 6, 2 if groups == 1 else 1, tile.bm // 4 + 1)
        assert excess(SimtConv(tile), site_of(op, x, rng), "f32", rng) <= 1


@kinds
@pytest.mark.parametrize(
    "after",
    [(Relu(),), ("add",), ("add", Relu()), (Silu(), "add"), (Sigmoid(),)],
    ids=lambda a: "+".join(each if isinstance(each, str) else each.name for each in a),
)
def test_epilogues(after, kind: str, rng) -> None:
    site = site_of(Conv2d(6, 2), image(4, 4, 3), rng, after)
    assert excess(SimtConv(), site, kind, rng) <= 1
    site = site_of(Conv2d(6, 2, groups=2), image(4, 4, 3), rng, after)  # channel by channel
    assert excess(SimtConv(), site, kind, rng) <= 1


@kinds
def test_what_it_reads_is_added(kind: str, rng) -> None:
    """Then it must lie as the result does."""
    site = site_of(Conv2d(3, 3, padding=1), image(3, 3, 4), rng, ("itself", Relu()))
    assert excess(SimtConv(), site, kind, rng) <= 1
    assert not SimtConv().accepts(site, 0, Layout("pixels4", nhwc(site.in_types[0]).image))


@kinds
@pytest.mark.parametrize("case", ["3x3", "1x1", "volume", "groups"])
def test_slots_of_wider_buffers(case: str, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtConv(), site_of(op, x, rng, ("add",)), kind, rng, slots=True) <= 1


@kinds
def test_pixels_of_four_channels(kind: str, rng) -> None:
    x = image(3, 4, 3)
    layout = Layout("pixels4", nhwc(x).image)
    assert excess(SimtConv(), site_of(Conv2d(5, 3, padding=1), x, rng), kind, rng, lies=layout) <= 1


@kinds
@pytest.mark.parametrize("batch", [1, 3, 9])
def test_dense(kind: str, batch: int, rng) -> None:
    site = site_of(Dense(10), image(13), rng, (Relu(),))
    assert excess(SimtDense(), site, kind, rng, batch) <= 1


@kinds
@pytest.mark.parametrize("channels", [8, 3])
def test_dense_on_an_image_as_it_lies(kind: str, channels: int, rng) -> None:
    site = site_of(Dense(5, bias=False), image(channels * 6), rng)
    layout = Layout("nhwc", (channels, 2, 3))
    for slots in (False, True):
        assert excess(SimtDense(), site, kind, rng, lies=layout, slots=slots) <= 1
