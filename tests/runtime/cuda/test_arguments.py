"""What a kernel is given, byte by byte, and that it is what compiled kernels take."""

from __future__ import annotations

import ctypes
import struct
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from cubin_params import parameter_sizes
from gpu_doubles import Kernel
from hypothesis import given
from hypothesis import strategies as st

from nbcnn.errors import DeviceError
from nbcnn.kernels.cuda.configs import CONFIGS
from nbcnn.runtime.cuda import cubin
from nbcnn.runtime.cuda.arguments import Block
from nbcnn.runtime.cuda.launcher import Span
from nbcnn.runtime.cuda.maps import Im2col, Tiled

MAP = Tiled(0x1000, "f16", 2, (64, 8), (128,), (64, 8))
EVERY = Kernel("every", "a:u16 b:f32[] c:u32 m:map d:i32 e:u64 f:f32 g:i64 h:f16[]")
GOOD: tuple[Any, ...] = (1, Span(64, 40), 2, MAP, -3, 4, 0.5, -5, Span(66, 7))


def encode(map_: Tiled | Im2col) -> bytes:
    return bytes([map_.address % 251]) * 128


def pointers(block: Block, count: int) -> list[int]:
    return [p or 0 for p in (ctypes.c_void_p * count).from_address(block.pointers)]


def pointed_to(block: Block, sizes: list[int]) -> list[bytes]:
    """What the driver would copy."""
    return [ctypes.string_at(p, size) for p, size in zip(pointers(block, len(sizes)), sizes, strict=True)]


def test_every_sort_of_argument() -> None:
    block = Block(EVERY)
    block.set(GOOD, encode)
    words = [
        *(struct.pack("H", 1), *struct.unpack("8s" * 7, struct.pack("7q", 0, 0, 10, 4, 64, 10, 4))),
        *(struct.pack("I", 2), encode(MAP), struct.pack("i", -3), struct.pack("Q", 4)),
        *(struct.pack("f", 0.5), struct.pack("q", -5)),
        *struct.unpack("8s" * 7, struct.pack("7q", 0, 0, 3, 2, 66, 3, 2)),  # a half element is none
    ]
    sizes = [len(word) for word in words]
    assert pointed_to(block, sizes) == words == block.words()
    places = pointers(block, len(sizes))
    assert all(p % size == 0 for p, size in zip(places, sizes, strict=True)), "a word lies askew"
    assert places[9] % 128 == 0


def test_set_again_changes_the_words_in_place() -> None:
    block = Block(EVERY)
    block.set(GOOD, encode)
    before = pointers(block, 21)
    block.set((*GOOD[:6], 0.25, *GOOD[7:]), encode)
    assert pointers(block, 21) == before
    assert struct.unpack("f", block.words()[12]) == (0.25,)


def test_blocks_keep_their_own_memory() -> None:
    blocks = [Block(EVERY) for _ in range(50)]
    for i, block in enumerate(blocks):
        block.set((i, *GOOD[1:]), encode)
    assert [pointed_to(b, [2])[0] for b in blocks] == [struct.pack("H", i) for i in range(50)]


CODES = {
    "u16": (np.uint16, st.integers(0, 2**16 - 1)),
    "u32": (np.uint32, st.integers(0, 2**32 - 1)),
    "i32": (np.int32, st.integers(-(2**31), 2**31 - 1)),
    "u64": (np.uint64, st.integers(0, 2**64 - 1)),
    "i64": (np.int64, st.integers(-(2**63), 2**63 - 1)),
    "f32": (np.float32, st.floats(width=32)),
}


@given(st.data(), st.lists(st.sampled_from(sorted(CODES)), min_size=1))
def test_all_numbers_arrive(data: st.DataObject, codes: list[str]) -> None:
    values = [data.draw(CODES[code][1]) for code in codes]
    block = Block(Kernel("k", " ".join(f"p{i}:{code}" for i, code in enumerate(codes))))
    block.set(values, encode)
    for code, value, word in zip(codes, values, block.words(), strict=True):
        type_ = CODES[code][0]
        np.testing.assert_array_equal(np.frombuffer(word, type_), [type_(value)])


@pytest.mark.parametrize(
    "place, arg, message",
    [
        (0, 1 << 16, "every: a = 65536 does not fit u16"),
        (0, 1.5, "every: a = 1.5 does not fit u16"),
        (0, MAP, "every: a is u16, and cannot be Tiled"),
        (0, "1", "every: a is u16, and cannot be '1'"),
        (0, None, "every: a is u16, and cannot be None"),
        (1, 64, "every: b is f32[], and cannot be 64"),
        (1, Span(66, 40), "every: b begins at 0x42, not at a whole float32"),
        (2, -1, "every: c = -1 does not fit u32"),
        (2, Span(0, 4), "every: c is u32, and cannot be Span"),
        (3, 0x1000, "every: m is map, and cannot be 4096"),
        (4, 1 << 31, "every: d = 2147483648 does not fit i32"),
        (5, -1, "every: e = -1 does not fit u64"),
        (5, 1 << 64, "every: e = 18446744073709551616 does not fit u64"),
        (6, 1e39, "every: f = 1e+39 does not fit f32"),
        (8, Span(-2, 4), "every: h = Span(address=-2, nbytes=4) does not fit f16[]"),
    ],
)
def test_what_does_not_fit_is_refused(place: int, arg: Any, message: str) -> None:
    args = list(GOOD)
    args[place] = arg
    with pytest.raises(DeviceError) as caught:
        Block(EVERY).set(args, encode)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("args, count", [(GOOD[:-1], 8), ((*GOOD, 1), 10)])
def test_the_number_of_arguments_is_checked(args: tuple, count: int) -> None:
    with pytest.raises(DeviceError, match=f"every takes 9 arguments, not {count}"):
        Block(EVERY).set(args, encode)


def test_numbers_of_numpy_are_numbers() -> None:
    block = Block(Kernel("k", "a:u32 b:f32 c:u64"))
    block.set((np.int64(7), np.float32(0.5), np.uint64(1 << 63)), encode)  # type: ignore[arg-type]
    assert block.words() == [struct.pack("I", 7), struct.pack("f", 0.5), struct.pack("Q", 1 << 63)]


def test_an_error_of_the_encoder_names_the_parameter() -> None:
    def refuse(map_: Tiled | Im2col) -> bytes:
        raise DeviceError("is a map too far")

    with pytest.raises(DeviceError, match="every: m is a map too far"):
        Block(EVERY).set(GOOD, refuse)


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install nbcnn[cuda]")
@pytest.mark.parametrize(
    "name", ["plain", "f16_conv_mma_32x64x64_w16x32s4__sm80", "f16_conv_wgmma_128x64x64_c2s8_im2col__sm90a"]
)
def test_compiled_kernels_take_these_words(name: str) -> None:
    from arrays_kernel import ARRAYS

    config = ARRAYS if name == "plain" else CONFIGS[name]
    made = cubin.build(config, (9, 0))
    assert [len(word) for word in Block(config).words()] == parameter_sizes(made.code, made.entry)
