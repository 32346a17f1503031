import math

import numpy as np
import pytest

import nbcnn
from nbcnn import ops
from nbcnn.frontends.initialise import CHUNK, RANGES, draw
from nbcnn.ir.types import TensorType
from nbcnn.reference import values

EXPECTED = ["0x1.35c0400000000p-4", "0x1.af938a0000000p+0", "-0x1.b075900000000p-3", "0x1.b9ccc80000000p-2"]


def test_the_same_bits_everywhere():
    drawn = draw("he", TensorType((2, 1, 1, 2)), "conv.weight", 7)
    assert drawn.dtype == np.float32
    assert [x.hex() for x in drawn.ravel().tolist()] == EXPECTED


@pytest.mark.parametrize("kind", RANGES)
def test_ranges(kind):
    low, high = RANGES[kind]
    array = draw(kind, TensorType((1001,)), "w")
    assert low <= array.min() <= array.max() <= high
    assert math.isclose(array.mean(), (low + high) / 2, abs_tol=0.03)


@pytest.mark.parametrize("name", ["conv2d", "dense", "batch_norm"])
def test_a_kernel_that_ignores_a_weight_is_noticed(name):
    """No seeded weight is 0 or 1 throughout, biases included."""
    for sample in ops.get(name).samples():
        for param in sample.op.params(*sample.types).values() if sample.error is None else ():
            array = draw(param.init, param.type, "w")
            assert 0.9 * array.size < np.count_nonzero((array != 0) & (array != 1))


def test_he_keeps_the_size_of_what_passes_through():
    array = draw("he", TensorType((64, 32, 3, 3)), "w")
    assert math.isclose(array.var(), 2 / 288, rel_tol=0.05)


def test_names_and_seeds_differ_and_chunks_do_not_repeat():
    type_ = TensorType((2 * CHUNK + 3,))
    first = draw("scale", type_, "a", 0)
    assert not np.array_equal(first, draw("scale", type_, "b", 0))
    assert not np.array_equal(first, draw("scale", type_, "a", 1))
    assert not np.array_equal(first[:100], first[CHUNK : CHUNK + 100])
    np.testing.assert_array_equal(first[:999], draw("scale", TensorType((999,)), "a", 0))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_activations_keep_their_size_through_depth(name, rng):
    graph = nbcnn.load(name)
    for _, _, outputs in values(graph, rng.standard_normal((1, 3, 224, 224)).astype("f4")):
        for array in outputs:
            assert 1e-3 < array.std() < 1e3
