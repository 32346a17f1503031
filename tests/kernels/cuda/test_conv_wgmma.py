"""The TMA and wgmma convolution in the emulator against float64."""

from __future__ import annotations

import pytest
from conv_cases import check
from cuda_emulator import Timing

from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import ConvWgmma, Epilogue

RELU_RES = Epilogue("relu", "before")
LATE_PRODUCTS = Timing(eager_copies=True, eager_products=False)

CASES = {
    "3x3, several tiles a block": (
        ConvWgmma("f16", 128, 64, 3, epilogue=RELU_RES),
        Conv(2, 9, 11, 64, 136, 3, 3, pads=(1, 1, 1, 1)),
    ),
    "1x1": (ConvWgmma("f16", 128, 128, 2, im2col=False), Conv(2, 9, 11, 72, 136)),
    "one step": (ConvWgmma("f16", 128, 64, 2, im2col=False), Conv(3, 9, 11, 64, 64)),
    "strides, two tiles of 64 a warpgroup": (
        ConvWgmma("bf16", 256, 64, 2, epilogue=Epilogue("silu", "after")),
        Conv(3, 13, 12, 40, 72, 3, 3, (2, 1), (1, 0, 1, 1)),
    ),
    "dilation, channels not whole steps": (
        ConvWgmma("tf32", 128, 64, 2, epilogue=RELU_RES),
        Conv(1, 9, 11, 40, 72, 3, 3, (1, 1), (2, 2, 2, 2), (2, 2)),
    ),
    "s8": (
        ConvWgmma("s8", 128, 128, 2, epilogue=Epilogue("clamp", "before")),
        Conv(1, 9, 11, 48, 144, 3, 2, (1, 2), (1, 1, 1, 0)),
    ),
    "float32": (
        ConvWgmma("f32", 128, 64, 3, epilogue=Epilogue("hard_swish", "before")),
        Conv(2, 9, 11, 40, 68, 3, 2, pads=(1, 1, 1, 0)),
    ),
    "float32, 1x1, three consumers": (
        ConvWgmma("f32", 192, 128, 2, 3, im2col=False),
        Conv(2, 9, 11, 72, 136),
    ),
    "256 filters a tile": (
        ConvWgmma("f16", 128, 256, 2, epilogue=RELU_RES),
        Conv(1, 9, 15, 64, 264, 1, 3, pads=(0, 1, 0, 1)),
    ),
    "three consumers": (
        ConvWgmma("f16", 192, 64, 2, consumers=3),
        Conv(2, 9, 11, 64, 64, 2, 2, pads=(0, 0, 1, 1)),
    ),
    "slots of wider buffers": (
        ConvWgmma("f16", 128, 64, 2, epilogue=RELU_RES),
        Conv(1, 5, 6, 32, 64, 3, 3, pads=(1, 1, 1, 1), x_pitch=96, residual_pitch=160, out_pitch=256),
    ),
}


@pytest.mark.parametrize("config, conv", CASES.values(), ids=CASES.keys())
def test_close_to_float64(config: ConvWgmma, conv: Conv) -> None:
    check(config, conv, timing=LATE_PRODUCTS)


@pytest.mark.parametrize(
    "timing",
    [Timing(), Timing(False, True), Timing(False, False, 1), Timing(True, False, 2)],
    ids=["early", "late copies", "all late, shuffled", "late products, shuffled"],
)
def test_whatever_the_timing(timing: Timing) -> None:
    for stages in (2, 3):
        conv = Conv(2, 9, 11, 64, 64, 3, 1, pads=(1, 0, 1, 0))
        check(ConvWgmma("f16", 128, 64, stages, epilogue=RELU_RES), conv, timing=timing, multiprocessors=1)
