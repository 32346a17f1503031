"""resize in every mode, and pad: each way to name pixels, in every type of images."""

from __future__ import annotations

import numpy as np
import pytest
from device_graphs import as_pixels, check, compiled, families, refusal, run_record
from strategies import Builder

from nbcnn.errors import NbcnnError
from nbcnn.ir import Op
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Kernel
from nbcnn.kernels.cuda import resample
from nbcnn.kernels.cuda.pad import PadAround, PadPixels
from nbcnn.kernels.cuda.resize import Resize as ResizeRecord
from nbcnn.ops.pad import Pad
from nbcnn.ops.resize import Resize

CROP = {"coordinates": "tf_crop_and_resize", "region": (0.3, -0.1, 1.3, 0.8)}

RESIZED: list[tuple[Resize, tuple[int, ...]]] = [
    (Resize((2.0, 2.0)), (9, 2, 3)),
    (Resize((0.6, 0.4)), (3, 5, 4)),
    (Resize((1.7,)), (5, 4)),
    (Resize((2.0, 1.0, 3.0)), (5, 1, 2, 2)),
    (Resize((2.0, 2.0), mode="linear"), (5, 2, 3)),
    (Resize(sizes=(3, 5), mode="linear", coordinates="align_corners"), (9, 2, 3)),
    (Resize((1.0, 0.5), mode="linear"), (9, 2, 4)),
    (Resize((2.0,), mode="linear"), (5, 4)),
    (Resize((2.0, 1.5, 2.0), mode="linear"), (3, 2, 2, 2)),
    (Resize((0.4, 0.45), mode="linear", antialias=True), (9, 6, 5)),
    (Resize((1.5, 2.2), mode="cubic"), (5, 3, 3)),
    (Resize((1.5, 1.2), mode="cubic", inside_only=True), (5, 3, 3)),
    (Resize(sizes=(3, 4), mode="linear", extrapolation=0.0, **CROP), (5, 3, 3)),
    (Resize(sizes=(3, 4), extrapolation=-2.5, **CROP), (9, 3, 3)),
    (Resize((1.0, 1.0)), (5, 2, 3)),
]

PADDED: list[tuple[Pad, tuple[int, ...]]] = [
    (Pad((1, 1)), (9, 2, 3)),
    (Pad((0, 1, 2, 3), -1.5), (8, 2, 2)),
    (Pad((2, 1, 0, 3), mode="edge"), (3, 2, 3)),
    (Pad((2, 1, 1, 2), mode="reflect"), (9, 3, 3)),
    (Pad((2, 1, 0, 3), mode="wrap"), (5, 2, 3)),
    (Pad((-1, 2, 0, -3)), (5, 3, 5)),
    (Pad((-1, 2, 3, -1), mode="reflect"), (5, 4, 4)),
    (Pad((1, 2), axes=(-1,)), (9, 4)),
    (Pad((1, 2), -np.inf, axes=(-2,)), (5, 3)),
    (Pad((1, 1, 1), axes=(2, 3, 4)), (3, 1, 2, 1)),
    (Pad((0, 3, 0, 2), 2.5, axes=(0, 1)), (5, 2, 2)),
    (Pad((8, 1, 4, 2), axes=(1, 3)), (8, 1, 2)),
    (Pad((1, 3), -1.0, axes=(1,)), (4,)),
    (Pad((0, 0)), (5, 2, 2)),
    (Pad((1,) * 5, axes=(1, 2, 3, 4, 5)), (1, 2, 1, 1, 2)),
]


@pytest.mark.parametrize("op, shape", RESIZED, ids=str)
def test_resized(op: Resize, shape: tuple[int, ...]) -> None:
    build = Builder()
    check(build.graph(build("y", op, as_pixels(build, build.input(*shape)))))


@pytest.mark.parametrize("op, shape", PADDED, ids=str)
def test_padded(op: Pad, shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input(*shape)
    values = [x, as_pixels(build, x)] if len(shape) < 5 else [x]
    check(build.graph(*(build(f"y{i}", op, v) for i, v in enumerate(values))))


def test_all_axes_are_one_step() -> None:
    build = Builder()
    graph = build.graph(build("y", Resize((2.0, 2.0, 2.0), mode="cubic"), build.input(3, 1, 1, 2)))
    assert families(compiled(graph)).count("resize") == 1


@pytest.mark.parametrize("kind", ("f32", "f16", "bf16"))
@pytest.mark.parametrize(
    "kernel, op",
    [
        (PadPixels(), Pad((1, 1), -np.inf)),
        (PadAround(), Pad((1, 1), 1.5, axes=(1, 2))),
        (ResizeRecord(), Resize((2.0, 2.0))),
        (ResizeRecord(), Resize(sizes=(3, 4), extrapolation=-1e30, **CROP)),
    ],
    ids=str,
)
def test_zeros_pad_the_result(kernel: Kernel, op: Op, kind: str) -> None:
    x = np.arange(1, 31, dtype=np.float32).reshape(1, 5, 2, 3)
    found = run_record(kernel, op, kind, [x])
    (wanted,) = op.reference(x)
    if kind == "f16":
        wanted = np.where(abs(wanted) > 65504, -np.inf, wanted)
    np.testing.assert_allclose(found.values()[0], wanted, rtol=2.0**-8)
    np.testing.assert_array_equal(found.pads()[0], 0)


def test_nan_and_infinity_stay_where_they_are() -> None:
    build = Builder()
    graph = build.graph(build("up", Resize((2.0, 2.0)), build.input(3, 2, 2)))
    x = np.array([np.nan, np.inf, -np.inf, -0.0] * 3, np.float32).reshape(1, 3, 2, 2)
    got = compiled(graph).run({"x": x})["up"]
    np.testing.assert_array_equal(got.view(np.int32), x.repeat(2, 2).repeat(2, 3).view(np.int32))


@pytest.mark.parametrize("limit, reach", [(40, 1 << 31), (1 << 30, 100)])
def test_a_few_images_at_a_time(limit: int, reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "LIMIT", limit)
    monkeypatch.setattr(resample, "REACH", reach)
    x = np.random.default_rng(0).normal(size=(3, 5, 2, 3)).astype(np.float32)
    found = run_record(PadPixels(), Pad((1, 0)), "f32", [x])
    np.testing.assert_array_equal(found.values()[0], Pad((1, 0)).reference(x)[0])
    monkeypatch.setattr(resample, "LIMIT", 10)
    with pytest.raises(NbcnnError, match="y: images of 96 elements are too large"):
        run_record(PadPixels(), Pad((1, 0)), "f32", [x])


REFUSED: list[tuple[Kernel, Op, tuple[int, ...]]] = [
    (ResizeRecord(), Resize((2.0, 1.0, 1.0)), (4, 2, 3)),
    (ResizeRecord(), Pad((1, 1)), (4, 2, 3)),
    (PadPixels(), Pad((1, 1), axes=(1,)), (4, 2, 3)),
    (PadPixels(), Resize((2.0, 2.0)), (4, 2, 3)),
    (PadAround(), Pad((1, 1), mode="reflect", axes=(1,)), (4, 2, 3)),
    (PadAround(), Pad((-1, 1), axes=(1,)), (4, 2, 3)),
    (PadAround(), Resize((2.0, 2.0)), (4, 2, 3)),
]


@pytest.mark.parametrize("kernel, op, shape", REFUSED, ids=str)
def test_refused(kernel: Kernel, op: Op, shape: tuple[int, ...]) -> None:
    assert refusal(kernel, op, TensorType(("N", *shape)))
