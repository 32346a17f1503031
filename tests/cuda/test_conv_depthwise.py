"""Plain depthwise convolutions on a device: windows with and without code of their own, epilogues, kinds."""

from __future__ import annotations

import pytest
from conv_sites import excess, site_of
from launch_plain import KINDS

from nbcnn.ir import TensorType
from nbcnn.kernels.cuda.simt_depthwise import SimtDepthwise
from nbcnn.ops.activation import Relu, Sigmoid, Silu
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d

kinds = pytest.mark.parametrize("kind", KINDS)


def image(*shape: int) -> TensorType:
    return TensorType(("N", *shape))


CASES = {
    "3x3": (Conv2d(6, 3, padding=1, groups=6), image(6, 4, 6)),
    "3x3 strided": (Conv2d(5, 3, stride=2, padding=1, groups=5), image(5, 5, 9)),
    "5x5": (Conv2d(4, 5, padding=2, groups=4, bias=False), image(4, 5, 5)),
    "1x7": (Conv2d(3, (1, 7), padding=(0, 3), groups=3), image(3, 2, 5)),
    "dilated": (Conv2d(9, 3, dilation=2, padding=2, groups=9), image(9, 4, 5)),
    "2x2": (Conv2d(4, 2, stride=3, padding=(1, 0, 0, 1), groups=4), image(4, 5, 5)),
    "flipped": (Conv2d(4, 3, groups=4, flip=True), image(4, 3, 4)),
    "signal": (Conv1d(6, 5, padding=2, groups=6), image(6, 7)),
    "one channel": (Conv2d(1, 3, padding=1), image(1, 3, 5)),
}


@kinds
@pytest.mark.parametrize("case", CASES)
def test_geometries(case: str, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtDepthwise(), site_of(op, x, rng), kind, rng) <= 1


@kinds
@pytest.mark.parametrize(
    "after",
    [("add", Relu()), (Silu(), "add"), (Sigmoid(),)],
    ids=lambda a: "+".join(each if isinstance(each, str) else each.name for each in a),
)
@pytest.mark.parametrize("case", ["3x3", "dilated"])
def test_epilogues_and_slots(case: str, after, kind: str, rng) -> None:
    op, x = CASES[case]
    assert excess(SimtDepthwise(), site_of(op, x, rng, after), kind, rng, slots=True) <= 1


def test_others_are_refused(rng) -> None:
    from run_steps import target

    from nbcnn.options import CompileOptions

    for op in (Conv2d(12, 3, groups=6), Conv2d(6, 3, groups=3), Conv2d(6, 3)):
        reason = SimtDepthwise().refuse(site_of(op, image(6, 5, 5), rng), target(), CompileOptions())
        assert reason and "not depthwise" in reason
