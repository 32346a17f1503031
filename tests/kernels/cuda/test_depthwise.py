"""The depthwise convolution in the emulator against float64."""

from __future__ import annotations

import pytest
from conv_cases import check

from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import Depthwise, Epilogue


def depthwise(n: int, h: int, w: int, c: int, r: int, s: int, *window) -> Conv:
    return Conv(n, h, w, c, c, r, s, *window, groups=c)


CASES = {
    "3x3": (3, 3, 1, 1, Epilogue("clamp"), depthwise(2, 7, 9, 48, 3, 3, (1, 1), (1, 1, 1, 1))),
    "5x3/2, uneven pads": (
        5,
        3,
        2,
        1,
        Epilogue("hard_swish"),
        depthwise(1, 11, 9, 16, 5, 3, (2, 2), (2, 0, 1, 2)),
    ),
    "dilation, residual": (
        3,
        3,
        1,
        2,
        Epilogue("silu", "before"),
        depthwise(1, 8, 9, 16, 3, 3, (1, 1), (2, 2, 2, 2), (2, 2)),
    ),
    "stride of rows alone": (3, 3, 1, 1, Epilogue(), depthwise(1, 9, 6, 16, 3, 3, (2, 1))),
}


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "s8"])
@pytest.mark.parametrize("r, s, stride, dilation, epilogue, conv", CASES.values(), ids=CASES.keys())
def test_close_to_float64(
    kind: str, r: int, s: int, stride: int, dilation: int, epilogue: Epilogue, conv: Conv
) -> None:
    check(Depthwise(kind, r, s, stride, dilation, epilogue=epilogue), conv)
