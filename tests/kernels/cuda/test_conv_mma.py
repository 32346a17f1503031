"""The mma.sync convolution, its split form and its first-layer form, in the emulator against float64."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import check, execute, problem
from cuda_emulator import Timing

from nbcnn.kernels.cuda.configs import CONFIGS
from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import ConvMma, ConvWgmma, Depthwise, Epilogue, SplitReduce

LATE = Timing(eager_copies=False, eager_products=False)
RELU_RES = Epilogue("relu", "before")
SAME3 = Conv(1, 7, 9, 64, 72, 3, 3, pads=(1, 1, 1, 1))


def small(kind: str, epilogue: Epilogue = RELU_RES, **more) -> ConvMma:
    """The tile 64x64 of 4 warps, one step of 64 bytes: two swizzle patterns differ, both occur below."""
    bk = {"f16": 32, "bf16": 32, "tf32": 16, "f32": 16, "s8": 64}[kind] * more.pop("rows", 1)
    return ConvMma(kind, 64, 64, bk, 32, 32, more.pop("stages", 3), 2, epilogue, **more)


CASES = {
    "3x3, filters not whole tiles": (small("f16", rows=2), SAME3),
    "stride, uneven pads and filter": (
        small("f16", Epilogue("silu")),
        Conv(2, 9, 8, 32, 64, 3, 5, (2, 1), (0, 1, 1, 2)),
    ),
    "1x1, channels not whole steps": (small("f16", Epilogue(), rows=2), Conv(2, 5, 7, 88, 64)),
    "dilation": (
        small("bf16", Epilogue("clamp", "after")),
        Conv(1, 8, 7, 32, 64, 3, 3, (1, 1), (2, 2, 2, 2), (2, 2)),
    ),
    "groups": (
        small("bf16", Epilogue("leaky_relu")),
        Conv(1, 6, 5, 64, 48, 3, 3, pads=(1, 1, 1, 1), groups=2),
    ),
    "tf32": (small("tf32", Epilogue("sigmoid")), Conv(1, 6, 7, 24, 68, 3, 3, pads=(1, 1, 1, 1))),
    "tf32, 128-byte steps": (small("tf32", rows=2, stages=4), Conv(1, 6, 7, 40, 64, 1, 3, pads=(0, 1, 0, 1))),
    "f32": (
        small("f32", Epilogue("hard_swish", "before"), rows=2),
        Conv(1, 6, 7, 40, 64, 3, 1, pads=(1, 0, 1, 0)),
    ),
    "s8": (small("s8", Epilogue("clamp", "before")), Conv(1, 7, 9, 80, 96, 3, 3, pads=(1, 1, 1, 1))),
    "s8, residual after": (
        small("s8", Epilogue("hard_sigmoid", "after")),
        Conv(2, 7, 5, 16, 64, 2, 2, (2, 2)),
    ),
    "warps of 64x64": (ConvMma("f16", 128, 128, 64, 64, 64, 3, 2, RELU_RES), Conv(1, 9, 13, 64, 136)),
    "warps of 16 rows": (ConvMma("f16", 32, 64, 64, 16, 32, 4, 4, RELU_RES), Conv(1, 5, 7, 128, 64, 2, 1)),
    "dense layer": (ConvMma("f16", 32, 64, 64, 16, 32, 4, 4), Conv(5, 1, 1, 256, 72)),
    "slots of wider buffers": (
        small("f16"),
        Conv(1, 5, 6, 32, 64, 3, 3, pads=(1, 1, 1, 1), x_pitch=96, residual_pitch=160, out_pitch=256),
    ),
}


@pytest.mark.parametrize("config, conv", CASES.values(), ids=CASES.keys())
def test_close_to_float64(config: ConvMma, conv: Conv) -> None:
    floats = (0.2, 0.5, 0.04, 1 / 0.06) if "leaky" in config.name or "hard_sig" in config.name else None
    check(config, conv, floats=floats)


FIRST = {
    "f16 7x7/2, 3 channels": ("f16", Conv(1, 11, 13, 4, 64, 7, 7, (2, 2), (3, 3, 3, 3)), 3),
    "bf16 3x3, odd width": ("bf16", Conv(2, 5, 7, 4, 72, 3, 3, (1, 1), (1, 1, 1, 1)), 3),
    "tf32 3x3/2": ("tf32", Conv(1, 8, 9, 4, 64, 3, 3, (2, 2), (0, 0, 1, 1)), 3),
    "f32 5x5, 1 channel": ("f32", Conv(1, 8, 9, 4, 64, 5, 5), 1),
    "s8 3x3, 4 channels, dilation": ("s8", Conv(1, 9, 9, 4, 64, 3, 3, (1, 1), (2, 2, 2, 2), (2, 2)), 4),
}


@pytest.mark.parametrize("kind, conv, channels", FIRST.values(), ids=FIRST.keys())
def test_first_layers(kind: str, conv: Conv, channels: int) -> None:
    check(small(kind, Epilogue("relu"), pixels4=True), conv, channels=channels)


@pytest.mark.parametrize(
    "kind, splits", [("f16", 3), ("bf16", 2), ("tf32", 4), ("f32", 2), ("s8", 3), ("f16", 12)]
)
def test_split_sums(kind: str, splits: int) -> None:
    """12 splits of 9 steps: some have nothing to do, and write zeros."""
    vector = {"f16": 8, "bf16": 8, "tf32": 4, "f32": 4, "s8": 16}[kind]
    conv = Conv(1, 5, 6, 4 * vector, 4 * vector + 16, 3, 3, pads=(1, 1, 1, 1))
    config = small(kind, Epilogue(), split=True)
    check(config, conv, splits=splits, reduction=SplitReduce(kind, Epilogue("silu", "before")))


@pytest.mark.parametrize(
    "timing", [LATE, Timing(seed=1), Timing(False, False, 2)], ids=["late", "shuffled", "both"]
)
def test_whatever_the_timing(timing: Timing) -> None:
    check(small("f16", stages=4), SAME3, timing=timing)
    check(small("f16", stages=2), SAME3, timing=timing)


@pytest.mark.parametrize("kind", ["f16", "tf32"])
def test_not_a_number_stays(kind: str) -> None:
    """NaN in the input reaches the pixels whose windows hold it, through ReLU too, and no others."""
    p = problem(kind, Conv(1, 6, 6, 16, 64, 3, 3))
    p.x[0, 0, 0, 0] = np.nan
    result = execute(small(kind, Epilogue("relu")), p)
    assert np.isnan(result[0, 0, 0]).all() and not np.isnan(result[0, 1:]).any()


def test_three_tf32_products_are_as_good_as_float32() -> None:
    """On a sum of 2,304 terms: the largest error relative to the sum of magnitudes, against plain float32."""
    conv = Conv(1, 4, 8, 256, 64, 3, 3, pads=(1, 1, 1, 1))
    p = problem("f32", conv, seed=3)
    p.bias[:] = 0
    taps = np.pad(p.x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.stack([taps[0, r : r + 4, s : s + 8] for r in range(3) for s in range(3)], 2).reshape(32, -1)
    filters = p.w.transpose(2, 3, 1, 0).reshape(-1, 64)
    exact, size = windows.astype(np.float64) @ filters, np.abs(windows).astype(np.float64) @ np.abs(filters)
    terms = (windows[:, :, None] * filters.astype(np.float32)).astype(np.float32)
    plain = np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]
    ours = execute(CONFIGS["f32_conv_mma_64x64x32_w32x32s4__sm80"], p).reshape(32, 64)
    tf32 = execute(CONFIGS["tf32_conv_mma_64x64x32_w32x32s4__sm80"], p).reshape(32, 64)
    error, float32, single = (np.abs((v - exact) / size).max() for v in (ours, plain, tf32))
    assert error <= float32 and error < single / 50, f"{error:.2e}, float32 {float32:.2e}, TF32 {single:.2e}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration(name: str) -> None:
    config = CONFIGS[name]
    vector = 16 // (1 if config.kind == "s8" else 4 if config.kind in ("tf32", "f32") else 2)
    if isinstance(config, SplitReduce):
        pytest.skip("tested with the convolutions that feed it")
    if isinstance(config, Depthwise):
        c, window = 3 * vector, (config.stride, config.stride)
        dilation = (config.dilation, config.dilation)
        conv = Conv(1, 9, 11, c, c, config.r, config.s, window, (1, 2, 1, 2), dilation, groups=c)
    elif isinstance(config, ConvMma) and config.pixels4:
        conv = Conv(1, 9, 11, 4, 5 * vector, 3, 3, (2, 2), (1, 1, 1, 1))
    elif isinstance(config, ConvWgmma) and not config.im2col:
        conv = Conv(2, 9, 11, 9 * vector, 17 * vector)
    else:
        conv = Conv(2, 6, 7, 9 * vector, 17 * vector, 3, 3, (2, 1), (1, 1, 1, 1))
    if isinstance(config, ConvMma) and config.split:
        check(config, conv, splits=3, reduction=SplitReduce(config.kind), timing=LATE)
    else:
        check(config, conv, timing=LATE)
