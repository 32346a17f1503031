"""Resize against PyTorch, bytes, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn.errors import ShapeError
from nbcnn.ir import TensorType
from nbcnn.ops.resample import Axis, coordinates
from nbcnn.ops.resize import Resize

torch = pytest.importorskip("torch")
F = torch.nn.functional


@pytest.mark.parametrize("size", [(9, 13), (3, 4), (1, 6), (5, 12)])
@pytest.mark.parametrize(
    "fields, options",
    [
        ({"coordinates": "asymmetric", "rounding": "floor"}, {"mode": "nearest"}),
        ({"rounding": "round_prefer_ceil"}, {"mode": "nearest-exact"}),
        ({"mode": "linear"}, {"mode": "bilinear"}),
        ({"mode": "linear", "coordinates": "align_corners"}, {"mode": "bilinear", "align_corners": True}),
        ({"mode": "cubic"}, {"mode": "bicubic"}),
        ({"mode": "cubic", "coordinates": "align_corners"}, {"mode": "bicubic", "align_corners": True}),
        (
            {"mode": "linear", "antialias": True, "inside_only": True},
            {"mode": "bilinear", "antialias": True},
        ),
        (
            {"mode": "cubic", "antialias": True, "inside_only": True, "cubic": -0.5},
            {"mode": "bicubic", "antialias": True},
        ),
    ],
    ids=str,
)
def test_agrees_with_torch(fields: dict, options: dict, size: tuple[int, int], rng) -> None:
    x = rng.standard_normal((2, 3, 5, 6))
    want = F.interpolate(torch.from_numpy(x), size, **options).numpy()
    (got,) = Resize(sizes=size, **fields).reference(x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)  # PyTorch works out places in float32


def test_volumes_and_signals(rng) -> None:
    x = rng.standard_normal((1, 2, 3, 4, 5))
    want = F.interpolate(torch.from_numpy(x), scale_factor=2.0, mode="trilinear").numpy()
    np.testing.assert_allclose(Resize((2.0, 2.0, 2.0), mode="linear").reference(x)[0], want, atol=1e-6)
    x = rng.standard_normal((1, 2, 7))
    want = F.interpolate(torch.from_numpy(x), scale_factor=3.0, mode="linear").numpy()
    np.testing.assert_allclose(Resize((3.0,), mode="linear").reference(x)[0], want, atol=1e-6)


def test_bytes_are_rounded_and_cut() -> None:
    x = np.array([[[0, 255, 0, 255]]], np.uint8)
    (y,) = Resize((2.0,), mode="linear").reference(x)
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(y[0, 0], [0, 64, 191, 191, 64, 64, 191, 255])
    (y,) = Resize((2.0,), mode="cubic").reference(x)
    assert y.max() == 255
    assert y.min() == 0


def test_fractional_sizes() -> None:
    """A scale of 0.6 makes 2 of 4, but counts 2.4 where corners are aligned, as ONNX does."""
    x = np.arange(1.0, 5.0).reshape(1, 1, 4)
    np.testing.assert_allclose(Resize((0.6,), mode="linear").reference(x)[0].ravel(), [4 / 3, 3])
    aligned = Resize((0.6,), mode="linear", coordinates="align_corners")
    np.testing.assert_allclose(aligned.reference(x)[0].ravel(), [1, 1 + 3 / 1.4])


def test_aspect() -> None:
    x = TensorType(("N", 3, 40, 80))
    assert Resize(sizes=(20, 20), aspect="not_larger").infer(x)[0].shape == ("N", 3, 10, 20)
    assert Resize(sizes=(20, 20), aspect="not_smaller").infer(x)[0].shape == ("N", 3, 20, 40)
    assert Resize(sizes=(20, 20)).infer(x)[0].shape == ("N", 3, 20, 20)


def test_what_lies_outside_a_crop() -> None:
    op = Resize(sizes=(3,), coordinates="tf_crop_and_resize", region=(-1.0, 1.0), extrapolation=9.0)
    np.testing.assert_array_equal(op.reference(np.arange(3.0))[0], [9, 0, 2])


def test_tiny_scales_take_no_memory() -> None:
    op = Resize((1e-9, 1.0), mode="cubic", antialias=True)
    assert op.infer(TensorType(("N", 1, 100, 3)))[0].shape == ("N", 1, 0, 3)
    assert op.reference(np.ones((1, 1, 100, 3)))[0].shape == (1, 1, 0, 3)
    assert coordinates(Axis(5, 0, 0.1), "half_pixel").size == 0


@pytest.mark.parametrize(
    "fields, word",
    [
        ({}, "either"),
        ({"scales": (2.0,), "sizes": (2,)}, "either"),
        ({"scales": (0.0,)}, "positive"),
        ({"scales": (float("inf"),)}, "positive"),
        ({"scales": (2.0, 2.0), "axes": (1,)}, "one positive number an axis"),
        ({"sizes": (0,)}, "positive"),
        ({"scales": (2.0,), "antialias": True}, "antialias"),
        ({"scales": (2.0,), "region": (0.0, 1.0)}, "region"),
        ({"scales": (2.0,), "coordinates": "tf_crop_and_resize"}, "region"),
        ({"scales": (2.0,), "coordinates": "tf_crop_and_resize", "region": (0.0,)}, "region"),
        ({"scales": (2.0,), "cubic": float("nan")}, "cubic"),
    ],
)
def test_bad_attributes_are_refused(fields: dict, word: str) -> None:
    with pytest.raises(ShapeError, match=word):
        Resize(**fields)
