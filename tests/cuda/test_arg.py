"""arg_max and arg_min on a device: ties, NaN, every axis and order."""

from __future__ import annotations

import numpy as np
import pytest
from launch_plain import KINDS, target
from one_operator import site
from run_steps import Memory, emit

from nbcnn.ir import TensorType
from nbcnn.kernels.cuda.arg import ArgExtremum
from nbcnn.kernels.layouts import PLAIN, Buffer, View, nhwc
from nbcnn.ops.activation import Relu
from nbcnn.ops.rank import ArgMax, ArgMin
from nbcnn.options import CompileOptions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", [ArgMax, ArgMin], ids=lambda op: op.name)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(21, 2, 3), (3, 2, 17), (9, 1, 1), (1, 5, 3), (23,)], ids=str)
def test_any_axis(op, last: bool, shape: tuple[int, ...], kind: str, rng) -> None:
    type_ = TensorType(("N", *shape))
    x = rng.integers(-3, 4, (3, *shape)).astype(np.float32)  # many ties
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = -np.inf
    x[2] = -np.inf
    for axis in range(1, len(shape) + 1):
        for keepdims in (False, True):
            which = op(axis, keepdims, last)
            here = site(which, type_)
            (want,) = which.reference(x)
            for layout in (PLAIN, nhwc(type_)):
                if not ArgExtremum().accepts(here, 0, layout):
                    continue
                given = emit(3, kind)
                memory = Memory(given)
                source = memory.view(layout, type_)
                memory.put(source, x)
                found = Buffer("places", want.nbytes)
                memory.bytes[found] = np.full(want.nbytes, 0xFF, np.uint8)
                result = View(found, PLAIN, want.size // 3, want.size // 3)
                memory.run(ArgExtremum().steps(here, (source,), (result,), given))
                np.testing.assert_array_equal(memory.bytes[found].view(np.int64).reshape(want.shape), want)


def test_pixels_are_read_along_their_channels_only() -> None:
    type_ = TensorType(("N", 5, 3, 4))
    assert ArgExtremum().accepts(site(ArgMax(1), type_), 0, nhwc(type_))
    assert not ArgExtremum().accepts(site(ArgMax(2), type_), 0, nhwc(type_))


def test_what_it_cannot_compare_is_refused() -> None:
    options, image = CompileOptions(), TensorType(("N", 3, 4, 5))
    assert ArgExtremum().refuse(site(ArgMax(1), image), target(), options) is None
    assert "no index" in str(ArgExtremum().refuse(site(Relu(), image), target(), options))
    whole = TensorType(("N", 3), "int32")
    assert "int32" in str(ArgExtremum().refuse(site(ArgMax(1), whole), target(), options))
    assert "batch" in str(ArgExtremum().refuse(site(ArgMin(0), TensorType((2, 3))), target(), options))
