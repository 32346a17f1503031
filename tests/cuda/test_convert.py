"""Conversions between layouts: exact but for the rounding of what is stored."""

from __future__ import annotations

import numpy as np
import pytest
from launch_plain import target
from run_steps import POISON, Memory, emit

from nbcnn.ir.types import TensorType
from nbcnn.kernels.cuda import moves
from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep

KINDS = ("f32", "f16", "bf16")
SHAPES = [(3, 5, 7), (21, 3, 5), (16, 2, 2), (1, 4, 3), (37,), (8,), (5, 9), (4, 2, 3, 2)]


@pytest.fixture(params=["tiles", "apart"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Through tiles in shared memory, or not: as on a GPU, where tiles are large, for few channels."""
    if request.param == "apart":
        monkeypatch.setattr(moves, "_turn", lambda *_: None)
    return request.param


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("batch", (1, 3))
def test_to_pixels_and_back(shape: tuple[int, ...], kind: str, batch: int, way: str) -> None:
    type_, given = TensorType(("N", *shape)), emit(batch, kind)
    memory, x = Memory(given), values(batch, *shape)
    source, pixels, back = (memory.view(layout, type_) for layout in (PLAIN, nhwc(type_), PLAIN))
    memory.put(source, x)
    convert = given.backend.convert
    steps = [*convert("x", source, pixels, type_, given), *convert("x", pixels, back, type_, given)]
    assert len(steps) == 2 and all(isinstance(s, DeviceStep) and s.conversion for s in steps)
    memory.run(steps)
    rounded = from_kind(kind, to_kind(kind, x))
    np.testing.assert_array_equal(memory.get(pixels, x.shape), rounded)
    np.testing.assert_array_equal(memory.get(back, x.shape), rounded)
    np.testing.assert_array_equal(memory.pads(pixels, pixels.pitch), 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", (1, 3, 4))
def test_to_pixels_of_four(channels: int, kind: str, way: str) -> None:
    type_, given = TensorType(("N", channels, 5, 3)), emit(2, kind)
    memory, x = Memory(given), values(2, channels, 5, 3)
    source, pixels = memory.view(PLAIN, type_), memory.view(Layout("pixels4", (channels, 5, 3)), type_)
    memory.put(source, x)
    (step,) = given.backend.convert("x", source, pixels, type_, given)
    assert isinstance(step, DeviceStep)
    assert ("weave" in step.kernel.name) == (way == "apart")
    memory.run([step])
    np.testing.assert_array_equal(memory.get(pixels, x.shape), from_kind(kind, to_kind(kind, x)))
    np.testing.assert_array_equal(memory.pads(pixels, 4), 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(21, 3, 5), (3, 4, 4), (21,)], ids=str)
def test_from_and_to_a_slot_of_wider_pixels(shape: tuple[int, ...], kind: str, way: str) -> None:
    type_, given = TensorType(("N", *shape)), emit(2, kind)
    lanes = given.target.lanes
    memory, x = Memory(given), values(2, *shape)
    source, back = memory.view(PLAIN, type_), memory.view(PLAIN, type_)
    slot = memory.view(nhwc(type_), type_, (lanes * 9, 2 * lanes))
    memory.put(source, x)
    convert = given.backend.convert
    memory.run([*convert("x", source, slot, type_, given), *convert("x", slot, back, type_, given)])
    width = -(-shape[0] // lanes) * lanes
    np.testing.assert_array_equal(memory.get(back, x.shape), from_kind(kind, to_kind(kind, x)))
    np.testing.assert_array_equal(memory.pads(slot, width), 0)
    assert (memory.others(slot, width) == POISON).all()


@pytest.mark.parametrize("dtype", ("float32", "int32", "int64", "uint8", "float16", "bool"))
@pytest.mark.parametrize("place", ("arena", "output"))
def test_plain_values_of_any_type_are_copied(dtype: str, place: str) -> None:
    type_, given = TensorType(("N", 3, 5), dtype), emit(3)
    memory = Memory(given)
    source, to = memory.view(PLAIN, type_), memory.view(PLAIN, type_)
    to.buffer.place = place
    memory.bytes[source.buffer][:] = np.random.default_rng(0).integers(0, 256, 45 * np.dtype(dtype).itemsize)
    memory.run(given.backend.convert("x", source, to, type_, given))
    np.testing.assert_array_equal(memory.bytes[to.buffer], memory.bytes[source.buffer])


def test_views_and_sizes() -> None:
    type_ = TensorType(("N", 21, 3, 5))
    given = emit(2, "f16").backend
    here = target("f16")
    view = given.view(Buffer("x", 0), nhwc(type_), here, 0)
    assert (view.pitch, view.image_stride, view.size) == (24, 360, 2)
    assert given.nbytes(nhwc(type_), here, 2, type_) == 2 * 360 * 2
    assert given.nbytes(Layout("pixels4", (3, 3, 5)), here, 2, type_) == 2 * 15 * 4 * 2
    assert given.nbytes(PLAIN, here, 2, type_) == 2 * 315 * 4
    assert given.nbytes(PLAIN, here, 2, TensorType(("N", 3), "int64")) == 48


def test_of_nothing_nothing_is_made() -> None:
    given = emit(2)
    type_ = TensorType(("N", 0, 5))
    a, b = (View(Buffer("x", 0), PLAIN, 0, 0) for _ in range(2))
    assert given.backend.convert("x", a, b, type_, given) == []
    assert moves.move("x", a, b, [Axis(2, 0, 0), Axis(0, 1, 1)], given) == []
