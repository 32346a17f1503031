"""Plain transposed convolutions on a device: strides, dilations, phases that no tap reaches, volumes."""

from __future__ import annotations

import pytest
from conv_sites import excess, site_of
from launch_plain import KINDS

from nbcnn.ir import TensorType
from nbcnn.kernels.cuda.conv_transpose import SimtConvTranspose
from nbcnn.ops.activation import Relu, Sigmoid
from nbcnn.ops.conv_transpose1d import ConvTranspose1d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.conv_transpose3d import ConvTranspose3d

kinds = pytest.mark.parametrize("kind", KINDS)


def image(*shape: int) -> TensorType:
    return TensorType(("N", *shape))


CASES = {
    "4x4 by 2": (ConvTranspose2d(5, 4, stride=2, padding=1), image(3, 3, 2)),
    "2x2 by 2": (ConvTranspose2d(4, 2, stride=2), image(4, 2, 3)),
    "3x3": (ConvTranspose2d(3, 3, padding=1, bias=False), image(2, 3, 3)),
    "no taps": (ConvTranspose2d(3, (1, 2), stride=3, output_padding=1), image(2, 2, 2)),
    "dilated": (ConvTranspose2d(3, 3, stride=2, dilation=2, padding=1), image(2, 3, 2)),
    "dilated by 3": (ConvTranspose2d(3, (3, 2), stride=2, dilation=3), image(2, 2, 2)),
    "dilated by 4, stride 6": (ConvTranspose2d(2, (4, 1), stride=(6, 1), dilation=(4, 1)), image(2, 2, 2)),
    "groups": (ConvTranspose2d(6, 3, stride=2, padding=1, output_padding=1, groups=2), image(4, 2, 2)),
    "longer": (ConvTranspose2d(2, 2, stride=2, output_shape=(7, 9)), image(3, 2, 3)),
    "signal": (ConvTranspose1d(4, 5, stride=3, padding=(1, 2)), image(3, 4)),
    "volume": (ConvTranspose3d(3, (2, 3, 2), stride=(2, 1, 2), padding=(0, 1, 0)), image(2, 2, 2, 2)),
}


@kinds
@pytest.mark.parametrize("case", CASES)
def test_geometries(case: str, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtConvTranspose(), site_of(op, x, rng), kind, rng) <= 1


@kinds
@pytest.mark.parametrize("case", ["4x4 by 2", "no taps", "groups", "volume"])
def test_epilogues_and_slots(case: str, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtConvTranspose(), site_of(op, x, rng, ("add", Relu())), kind, rng, slots=True) <= 1
    assert excess(SimtConvTranspose(), site_of(op, x, rng, (Sigmoid(), "add")), kind, rng, slots=True) <= 1
