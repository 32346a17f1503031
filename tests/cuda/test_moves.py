"""transpose, repeat, depth_space: exact moves between any two orders of axes."""

from __future__ import annotations

import numpy as np
import pytest
from device_graphs import as_pixels, check, compiled, families, refusal, run_record
from run_steps import POISON, Memory, emit
from strategies import Builder

from nbcnn.ir import Op
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Kernel
from nbcnn.kernels.cuda import moves
from nbcnn.kernels.cuda.depth_space import DepthSpace
from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.kernels.cuda.repeat import Repeat
from nbcnn.kernels.cuda.transpose import Transpose as TransposeRecord
from nbcnn.kernels.layouts import PLAIN, nhwc
from nbcnn.kernels.orders import Axis
from nbcnn.ops.blocks import DepthToSpace, SpaceToDepth
from nbcnn.ops.repeat import Expand, Tile
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.transpose import Transpose

CASES: list[tuple[Op, tuple[int, ...]]] = [
    (Transpose((0, 2, 3, 1)), (11, 2, 3)),
    (Transpose((0, 3, 2, 1)), (5, 3, 9)),
    (Transpose((0, 1, 3, 2)), (3, 4, 2)),
    (Transpose((0, 2, 1)), (10, 7)),
    (Transpose((0, 3, 2, 4, 1)), (3, 2, 3, 2)),
    (Transpose((0, 5, 4, 3, 2, 1)), (2, 3, 2, 3, 2)),
    (Expand((1, 11, 2, 3)), (11, 1, 1)),
    (Expand((1, 9, 2, 3)), (1, 2, 3)),
    (Expand((1, 3, 1, 9, 1)), (1, 2, 1, 3)),
    (Tile((1, 2, 1, 1)), (5, 3, 2)),
    (Tile((1, 1, 3, 2)), (9, 1, 2)),
    (Tile((1, 2, 3, 2)), (3, 2, 2)),
    (Tile((1, 4)), (5,)),
    (DepthToSpace(2, "DCR"), (36, 2, 1)),
    (DepthToSpace(2, "CRD"), (36, 1, 2)),
    (SpaceToDepth(2, "DCR"), (9, 2, 4)),
    (SpaceToDepth(2, "CRD"), (3, 4, 2)),
]


@pytest.mark.parametrize("op, shape", CASES, ids=str)
def test_of_any_order(op: Op, shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*shape)
    values = [x, as_pixels(build, x)] if len(shape) < 5 else [x]
    check(build.graph(*(build(f"y{i}", op, v) for i, v in enumerate(values))))


def test_channel_shuffle_is_one_step() -> None:
    build = Builder()
    x = as_pixels(build, build.input(21, 1, 3))
    y = build("apart", Reshape((0, 3, 7, 1, 3)), x)
    y = build("turn", Transpose((0, 2, 1, 3, 4)), y)
    y = build("back", Reshape((0, 21, 1, 3)), y)
    graph = build.graph(as_pixels(build, y))
    check(graph)
    assert families(compiled(graph)).count("transpose") == 2  # channels; what pads them
    assert families(compiled(graph)).count("layout") == 2


def test_blocks_are_one_step_from_pixels_to_planes() -> None:
    build = Builder()
    graph = build.graph(build("y", DepthToSpace(2), as_pixels(build, build.input(12, 2, 1))))
    check(graph)
    assert families(compiled(graph)) == ["layout", "affine", "depth_space", "layout"]


@pytest.mark.parametrize(
    "channels, precision, copies", [(8, "float32", 0), (5, "float32", 2), (8, "float16", 2)]
)
def test_channels_last_and_back_is_free_where_images_lie_so(
    channels: int, precision: str, copies: int
) -> None:
    build = Builder()
    y = build("there", Transpose((0, 2, 3, 1)), as_pixels(build, build.input(channels, 2, 3)))
    y = build("back", Transpose((0, 3, 1, 2)), build("rows", Reshape((0, 2, 3, channels)), y))
    graph = build.graph(as_pixels(build, y))
    check(graph, precisions=(precision,))
    assert families(compiled(graph, precision)).count("transpose") == copies


@pytest.mark.parametrize("kind", ("f32", "f16", "bf16"))
@pytest.mark.parametrize(
    "kernel, op, shape",
    [
        (Repeat(), Tile((1, 3, 1, 2)), (3, 2, 2)),
        (Repeat(), Tile((1, 3)), (3,)),
        (Repeat(), Expand((1, 9, 2, 1)), (1, 1, 2)),
        (DepthSpace(), SpaceToDepth(3, "CRD"), (9, 3, 3)),
        (TransposeRecord(), Transpose((0, 3, 1, 2)), (3, 2, 9)),
    ],
    ids=str,
)
def test_zeros_pad_what_was_moved(kernel: Kernel, op: Op, shape: tuple[int, ...], kind: str) -> None:
    x = np.arange(1, 1 + 2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    found = run_record(kernel, op, kind, [x])
    np.testing.assert_array_equal(found.values()[0], op.reference(x)[0])
    for pads in found.pads():
        np.testing.assert_array_equal(pads, 0)


REFUSED: list[tuple[Kernel, Op, tuple[int, ...]]] = [
    (TransposeRecord(), Transpose((1, 0, 2)), (2, 3, 4)),
    (TransposeRecord(), Tile((1, 2)), (2, 3)),
    (Repeat(), Tile((2, 1)), (2, 3)),
    (Repeat(), Expand((4, 1, 3)), (2, 3)),
    (Repeat(), Transpose((0, 1)), (2, 3)),
    (DepthSpace(), Transpose((0, 1)), (2, 3)),
]


@pytest.mark.parametrize("kernel, op, shape", REFUSED, ids=str)
def test_refused(kernel: Kernel, op: Op, shape: tuple[int, ...]) -> None:
    assert refusal(kernel, op, TensorType(shape))


def test_every_bit_passes_through() -> None:
    build = Builder()
    graph = build.graph(build("y", Transpose((0, 2, 1)), build.input(5, 3)))
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32).repeat(3).reshape(1, 5, 3)
    got = compiled(graph).run({"x": x})["y"]
    np.testing.assert_array_equal(got.view(np.int32), x.transpose(0, 2, 1).copy().view(np.int32))


@pytest.mark.parametrize("kind", ("f32", "f16", "bf16"))
@pytest.mark.parametrize("limit, reach, loops", [(1 << 30, 1 << 31, 2), (16, 1 << 31, 6), (1 << 30, 40, 6)])
def test_in_parts(limit: int, reach: int, loops: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "LIMIT", limit)
    monkeypatch.setattr(moves, "REACH", reach)
    monkeypatch.setattr(moves, "MOVE_LOOPS", loops)
    type_, given = TensorType(("N", 11, 2, 3)), emit(2, kind)
    memory, x = Memory(given), np.random.default_rng(0).normal(size=(2, 11, 2, 3)).astype(np.float32)
    source, target = memory.view(nhwc(type_), type_, (32, 8)), memory.view(PLAIN, type_)
    memory.put(source, x)
    # Backwards along the rows: negative strides in the source.
    axes = [Axis(2, 6 * 32, 66), Axis(11, 1, 6), Axis(2, -3 * 32, 3), Axis(3, 32, 1)]
    steps = moves.move("y", source, target, axes, given, (3 * 32, 0))
    assert len(steps) > (limit > 16 and reach > 40 and loops > 2)
    memory.run(steps)
    np.testing.assert_array_equal(
        memory.get(target, x.shape), from_kind("f32", from_kind(kind, to_kind(kind, x))[:, :, ::-1])
    )


def test_only_what_moves_is_written() -> None:
    """Channels 8 to 12 of wider pixels; nothing pads them, since they do not end the pixel."""
    type_, given = TensorType(("N", 19, 2, 3)), emit(2, "f16")
    memory, x = Memory(given), np.arange(60, dtype=np.float32).reshape(2, 5, 2, 3)
    part = TensorType(("N", 5, 2, 3))
    source, target = memory.view(PLAIN, part), memory.view(nhwc(type_), type_)
    memory.put(source, x)
    axes = [Axis(2, 30, 6 * 24), Axis(5, 6, 1), Axis(6, 1, 24)]
    memory.run(moves.move("y", source, target, axes, given, (0, 8)))
    written = memory.bytes[target.buffer].view(np.uint16).reshape(2, 6, 24)
    assert (written[..., :8] == POISON * 257).all() and (written[..., 13:] == POISON * 257).all()
    np.testing.assert_array_equal(
        from_kind("f16", written.view(np.float16)[..., 8:13]), x.transpose(0, 2, 3, 1).reshape(2, 6, 5)
    )
