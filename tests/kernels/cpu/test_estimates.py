"""What estimates have in common: bytes by whole vectors, far ones dearer, activations by their codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbcnn.ir import TensorType
from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.target import detect

TARGET = replace(detect(), lanes=16, l2=1 << 20)
IMAGE, PLAIN = TensorType(("N", 20, 8, 8)), TensorType(("N",))


def test_channels_fill_whole_vectors() -> None:
    assert estimates.nbytes((IMAGE,), 16) == 4 * 32 * 64
    assert estimates.nbytes((IMAGE, IMAGE), 4) == 2 * 4 * 20 * 64
    assert estimates.nbytes((PLAIN,), 16) == PLAIN.nbytes()


def test_what_does_not_stay_in_half_of_l2_takes_longer() -> None:
    assert estimates.far(1 << 19, TARGET) == 0
    assert estimates.far((1 << 19) + 1000, TARGET) == pytest.approx(1000 * estimates.FAR)
    near = estimates.streamed((IMAGE,), TARGET, 1e-11)
    assert near == pytest.approx(estimates.CALL + 1e-11 * 4 * 32 * 64)
    assert estimates.streamed((IMAGE,), replace(TARGET, l2=1024), 1e-11) > near


def test_activations() -> None:
    assert set(estimates.ACTIVATION) <= set(ACTIVATIONS)
    assert estimates.activated(IMAGE, Epilogue(), TARGET) == 0
    gelu = estimates.activated(IMAGE, Epilogue("gelu"), TARGET)
    assert gelu == pytest.approx(estimates.ACTIVATION["gelu"] * 2 * 64)
    assert gelu > estimates.activated(IMAGE, Epilogue("silu"), TARGET) > 0
