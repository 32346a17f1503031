"""The host's side: sizes and divisors, packing, names, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbcnn.kernels.cuda import packing
from nbcnn.kernels.cuda.configs import CONFIGS, with_epilogue
from nbcnn.kernels.cuda.problem import Conv, launch, magic
from nbcnn.kernels.cuda.shapes import ConvMma, ConvWgmma, Depthwise, Epilogue, SplitReduce

ADDRESSES = dict.fromkeys(("x", "w", "bias", "scale", "residual", "out", "partial"), 0x10000)
F16 = CONFIGS["f16_conv_mma_64x64x64_w32x32s4__sm80"]


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_magic_divides(divisor: int, number: int) -> None:
    multiplier, shift = magic(divisor)
    assert multiplier < 2**32 and shift < 32
    for n in (number, number // divisor * divisor, number // divisor * divisor - 1, 2**31 - 1):
        if n >= 0:
            quotient = (n * multiplier >> 32) >> shift if multiplier else n
            assert quotient == n // divisor


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_tf32_is_the_nearest(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    rounded = packing.round_tf32(exact)
    normal = (np.abs(exact) > 1e-37) & (np.abs(exact) < 3.4e38)
    exact, rounded = exact[normal], rounded[normal]
    assert (np.abs(rounded - exact) <= np.abs(exact) * 2.0**-11).all()
    assert not (rounded.view(np.uint32) & 0x1FFF).any()


@given(st.floats(width=32))
def test_bfloat16_is_the_nearest(value: float) -> None:
    bits = packing.to_bfloat16(np.array([value], np.float32))
    back = packing.from_kind("bf16", bits)[0]
    if np.isnan(value):
        assert np.isnan(back)
    elif 1e-37 < abs(value) < 3.38e38:
        assert abs(back - value) <= abs(value) * 2.0**-8
    elif value in (0, np.inf, -np.inf):
        assert back == value


@pytest.mark.parametrize("kind, vector", [("f16", 8), ("bf16", 8), ("tf32", 4), ("f32", 4), ("s8", 16)])
def test_packed_weights(kind: str, vector: int) -> None:
    w = np.arange(3 * 5 * 2 * 1).reshape(3, 5, 2, 1).astype(np.float64)
    packed = packing.conv_weights(kind, w)
    assert packed.shape == (vector if vector > 3 else 4, 2, 1, -(-5 // vector) * vector)
    values = packing.from_kind(kind, packed)
    np.testing.assert_array_equal(values[:3, :, :, :5], w.transpose(0, 2, 3, 1))
    assert not values[3:].any() and not values[..., 5:].any()


def test_merged_groups_see_their_own_channels() -> None:
    w = np.arange(1.0, 37).reshape(12, 3, 1, 1)
    wide = packing.spread(w, 2, 4)
    assert wide.shape == (12, 6, 1, 1)
    for k in range(12):
        at = 3 * (k // 3 % 2)
        np.testing.assert_array_equal(wide[k, at : at + 3], w[k])
        assert np.count_nonzero(wide[k]) == 3
    np.testing.assert_array_equal(packing.spread(w, 1, 4), w)


def test_names_are_unique_and_decode() -> None:
    whole = [c for c in CONFIGS.values() if not getattr(c, "split", False)]
    names = [with_epilogue(c, Epilogue("silu", "after")).name for c in whole]
    assert len(set(names)) == len(names)
    assert all("_silu_resafter__sm" in name for name in names)
    assert all(name == config.name for name, config in CONFIGS.items())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_configurations_fit(config) -> None:
    """On 9.0: 228 KiB of shared memory, of which each block takes 1 KiB beside its own; 64 Ki registers."""
    assert config.blocks * (config.smem + 1024) <= 228 * 1024
    assert config.blocks * config.threads * 32 <= 65536
    assert config.smem <= (227 if config.arch == 90 else 163) * 1024
    assert len({name for name, _ in config.params}) == len(config.params)


@pytest.mark.parametrize(
    "config, conv, message",
    [
        (F16, Conv(1, 4, 4, 12, 64), "12 channels of f16: not whole 16-byte vectors"),
        (F16, Conv(1, 4, 4, 16, 12), "12 filters of f16 in 1 groups"),
        (F16, Conv(1, 40, 40, 16, 16, 16, 3), "a filter of 16x3"),
        (
            CONFIGS["f16_conv_mma_128x64x32_w64x32s4_c4__sm80"],
            Conv(1, 4, 4, 8, 64),
            "pixels of 4 channels, not 8",
        ),
        (CONFIGS["f16_conv_mma_64x64x64_w32x32s4_split__sm80"], Conv(1, 4, 4, 16, 16, groups=2), "not split"),
        (ConvWgmma("f16", 128, 64, 2), Conv(1, 4, 4, 16, 16, groups=2), "one group"),
        (ConvWgmma("f16", 128, 64, 2, im2col=False), Conv(1, 4, 4, 16, 16, 3, 3), "1x1 convolutions"),
        (ConvWgmma("f16", 128, 64, 2), Conv(1, 40, 40, 16, 16, strides=(9, 1)), "strides to 8"),
        (F16, Conv(256, 512, 512, 16, 16), "at most 2 GiB"),
        (F16, Conv(1, 4, 4, 16, 16, out_pitch=40), "16-byte vectors"),
        (F16, Conv(1, 4, 4, 16, 16, x_pitch=40), "16-byte vectors"),
        (Depthwise("f16", 3, 3), Conv(1, 4, 4, 8, 8, 3, 3), "one filter a channel"),
        (Depthwise("f16", 3, 3), Conv(1, 9, 9, 8, 8, 5, 5, groups=8), "another window"),
    ],
)
def test_refuses(config, conv: Conv, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launch(config, conv, ADDRESSES)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Epilogue("softplus"),
        lambda: Epilogue("relu", "twice"),
        lambda: ConvMma("f16", 64, 64, 48, 32, 32, 3),
        lambda: ConvMma("f16", 64, 64, 64, 48, 32, 3),
        lambda: ConvMma("f16", 64, 64, 64, 32, 32, 3, epilogue=Epilogue("relu"), split=True),
        lambda: ConvWgmma("f32", 256, 64, 2),
        lambda: ConvWgmma("f16", 64, 64, 2, consumers=1),
        lambda: Depthwise("tf32", 3, 3),
    ],
)
def test_no_such_configuration(make) -> None:
    with pytest.raises(ValueError, match=r"^(no |partial sums take no epilogue)"):
        make()


def test_sizes() -> None:
    conv = Conv(2, 9, 8, 16, 32, 3, 5, (2, 1), (0, 1, 1, 2), (1, 1))
    assert (conv.p, conv.q, conv.m) == (4, 7, 56)
    made = launch(F16, conv, ADDRESSES)
    values = dict(zip((name for name, _ in F16.params), made.args, strict=True))
    assert made.grid == (1, 1, 1) and values["k_tiles"] == 15 and values["C"] == 32
    reduce = launch(SplitReduce("f16"), conv, ADDRESSES, splits=4)
    assert reduce.grid == (-(-56 * 4 // 256), 1, 1)


@pytest.mark.parametrize(
    "config, missing",
    [
        (F16, "bias"),
        (with_epilogue(F16, Epilogue("relu", "before")), "residual"),
        (ConvWgmma("s8", 128, 64, 2), "scale"),
        (SplitReduce("f16"), "partial"),
    ],
)
def test_wants_the_addresses_it_uses(config, missing: str) -> None:
    conv = Conv(1, 4, 4, 16, 16)
    launch(config, conv, ADDRESSES)
    for address in (0, 0x10008):
        with pytest.raises(ValueError, match=f"needs the address of {missing}, a multiple of 16"):
            launch(config, conv, {**ADDRESSES, missing: address})


def test_does_without_the_addresses_it_does_not_use() -> None:
    launch(F16, Conv(1, 4, 4, 16, 16), {k: v for k, v in ADDRESSES.items() if k not in ("scale", "residual")})
    split = CONFIGS["f16_conv_mma_64x64x64_w32x32s4_split__sm80"]
    launch(split, Conv(1, 4, 4, 16, 16), {k: ADDRESSES[k] for k in ("x", "w", "out")})
