"""Which tiles are chosen by rules: what fits, what suits the size, what is worth measuring."""

from __future__ import annotations

import pytest

from nbcnn.kernels.cuda.choose import (
    MOST,
    SPLITS,
    Tile,
    candidates,
    merged,
    refusal,
    seconds,
    steps_of,
    strips,
    strips_refusal,
)
from nbcnn.kernels.cuda.problem import Conv, launch
from nbcnn.kernels.cuda.shapes import ConvMma, ConvWgmma, Epilogue
from nbcnn.target import CudaTarget

H200 = CudaTarget("H200", (9, 0), 132, 227 << 10, precision="float16")
A100 = CudaTarget("A100", (8, 0), 108, 163 << 10, precision="float16")
RTX3090 = CudaTarget("RTX 3090", (8, 6), 82, 99 << 10, precision="float16")
B200 = CudaTarget("B200", (10, 0), 148, 227 << 10, precision="float16")
GPUS = [H200, A100, RTX3090, B200]
RELU = Epilogue("relu")

LAYERS = {
    "resnet50 3x3, batch 1": Conv(1, 14, 14, 256, 256, 3, 3, pads=(1, 1, 1, 1)),
    "resnet50 3x3, batch 128": Conv(128, 14, 14, 256, 256, 3, 3, pads=(1, 1, 1, 1)),
    "resnet50 1x1, batch 128": Conv(128, 56, 56, 64, 256),
    "strided": Conv(8, 56, 56, 256, 512, strides=(2, 2)),
    "vgg16 fc6, batch 1": Conv(1, 1, 1, 25088, 4096),
    "vgg16 fc6, batch 256": Conv(256, 1, 1, 25088, 4096),
    "few filters": Conv(1, 32, 32, 16, 16, 3, 3, pads=(1, 1, 1, 1)),
    "groups": Conv(4, 28, 28, 128, 128, 3, 3, pads=(1, 1, 1, 1), groups=2),
    "one pixel": Conv(1, 1, 1, 64, 64),
}
ADDRESSES = dict.fromkeys(("x", "w", "bias", "scale", "residual", "out", "partial"), 0x10000)


def best(name: str, target: CudaTarget, kind: str = "f16") -> Tile:
    return candidates(LAYERS[name], kind, RELU, target)[0]


@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32", "f32"])
@pytest.mark.parametrize("target", GPUS, ids=lambda t: t.name)
@pytest.mark.parametrize("name", LAYERS)
def test_candidates_fit_and_compute_it(name: str, target: CudaTarget, kind: str) -> None:
    conv = LAYERS[name]
    found = candidates(conv, kind, RELU, target)
    assert 1 <= len(found) <= MOST and len(set(found)) == len(found)
    times = [seconds(tile, conv, target) for tile in found]
    assert times == sorted(times) and times[0] > 0
    for tile in found:
        config = tile.config
        assert (
            config.kind == kind and config.runs_on(target.capability) and config.smem <= target.shared_memory
        )
        assert isinstance(config, ConvMma) or target.capability == (9, 0)
        launch(config, conv, ADDRESSES, splits=tile.splits)
        split = isinstance(config, ConvMma) and config.split
        assert split == (tile.splits > 1) and config.epilogue == (Epilogue() if split else RELU)
        if split:
            assert tile.splits in SPLITS and 2 * tile.splits <= steps_of(config, conv)


def test_rules_are_pure() -> None:
    assert all(candidates(c, "f16", RELU, H200) == candidates(c, "f16", RELU, H200) for c in LAYERS.values())


def test_much_work_goes_to_wgmma_in_wide_tiles() -> None:
    tile = best("resnet50 3x3, batch 128", H200)
    assert isinstance(tile.config, ConvWgmma) and tile.config.bm * tile.config.bn >= 128 * 128
    assert tile.config.im2col
    pointwise = best("resnet50 1x1, batch 128", H200)
    assert isinstance(pointwise.config, ConvWgmma) and not pointwise.config.im2col
    wide = best("resnet50 3x3, batch 128", A100).config
    assert isinstance(wide, ConvMma) and wide.bm * wide.bn >= 128 * 128


@pytest.mark.parametrize("name", ["resnet50 3x3, batch 1", "vgg16 fc6, batch 1"])
@pytest.mark.parametrize("target", GPUS, ids=lambda t: t.name)
def test_little_work_is_split(name: str, target: CudaTarget) -> None:
    tile, conv = best(name, target), LAYERS[name]
    tiles = -(-conv.m // tile.config.bm) * -(-conv.k // tile.config.bn)
    assert tile.splits > 1 or tiles > target.multiprocessors // 2
    assert tiles * tile.splits <= tile.config.blocks * target.multiprocessors


def test_groups_and_few_steps_are_not_split() -> None:
    assert all(
        t.splits == 1 and isinstance(t.config, ConvMma)
        for t in candidates(LAYERS["groups"], "f16", RELU, H200)
    )
    assert all(t.splits == 1 for t in candidates(LAYERS["one pixel"], "f16", RELU, H200))


@pytest.mark.parametrize(
    "groups, channels, filters, merge",
    [
        (1, 3, 64, 1),
        (2, 256, 256, 1),
        (32, 4, 4, 16),
        (32, 8, 8, 8),
        (32, 32, 32, 2),
        (512, 1, 1, 64),
        (3, 5, 5, 3),
    ],
)
def test_groups_are_merged_until_they_fill_a_tile(
    groups: int, channels: int, filters: int, merge: int
) -> None:
    assert merged(groups, channels, filters, 8) == merge


def test_first_layers_read_pixels_of_four() -> None:
    conv = Conv(1, 224, 224, 4, 64, 7, 7, (2, 2), (3, 3, 3, 3))
    found = candidates(conv, "f16", RELU, H200, pixels4=True)
    assert found and all(isinstance(t.config, ConvMma) and t.config.pixels4 for t in found)
    assert not any(
        isinstance(t.config, ConvMma) and t.config.pixels4
        for t in candidates(LAYERS["strided"], "f16", RELU, H200)
    )


@pytest.mark.parametrize(
    "conv, reason",
    [
        (Conv(1, 20, 20, 16, 16, 16, 1), "at most 15 rows and columns"),
        (Conv(1, 4, 4, 12, 16), "12 channels of f16: not whole 16-byte vectors"),
        (Conv(1, 4, 4, 16, 8, groups=2), "8 filters of f16 in 2 groups"),
        (Conv(1, 32768, 32768, 16, 16), "at most 2 GiB"),
    ],
)
def test_what_no_kernel_computes(conv: Conv, reason: str) -> None:
    assert reason in str(refusal(conv, "f16"))
    assert candidates(conv, "f16", RELU, H200) == []


def test_what_the_tma_unit_cannot_reach_is_left_to_mma() -> None:
    for conv in (
        Conv(1, 300, 300, 16, 16, 15, 15, dilations=(19, 19)),
        Conv(1, 300, 300, 16, 16, 3, 3, pads=(0, 129, 0, 129)),
        Conv(64, 90, 90, 64, 64, 3, 3, strides=(9, 9)),
    ):
        found = candidates(conv, "f16", RELU, H200)
        assert found and not any(isinstance(t.config, ConvWgmma) for t in found)


@pytest.mark.parametrize("n, width", [(1, 1), (128, 4)])
def test_depthwise_strips_suit_the_size(n: int, width: int) -> None:
    conv = Conv(n, 7, 7, 960, 960, 3, 3, pads=(1, 1, 1, 1), groups=960)
    found = strips(conv, "f16", RELU, H200)
    assert found[0].width == width and {c.width for c in found} == {1, 2, 4}
    assert all(c.epilogue == RELU for c in found)


def test_what_no_depthwise_kernel_computes() -> None:
    assert strips_refusal(Conv(1, 9, 9, 16, 16, 3, 3, groups=16), "f16") is None
    assert "one filter a channel" in str(strips_refusal(Conv(1, 9, 9, 16, 16, 3, 3, groups=8), "f16"))
    assert "at most 15" in str(strips_refusal(Conv(1, 19, 19, 16, 16, 3, 16, groups=16), "f16"))
