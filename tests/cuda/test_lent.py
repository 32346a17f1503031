"""Inputs that lie on the device, and outputs that stay there, through the API."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nbcnn
from nbcnn.errors import InputError
from nbcnn.runtime.cuda.arrays import DeviceArray

rng = np.random.default_rng(8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("lent") / "m.yaml"
    path.write_text("format: 1\nname: m\ninputs: {x: [N, 6]}\nnodes: [{name: y, op: relu}]\n")
    return nbcnn.compile(nbcnn.load(path), target="cuda")


class Interface:
    def __init__(self, array, **fields):
        self.array = array
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **fields}


@pytest.mark.parametrize("lend", [lambda array: array, Interface])
def test_what_a_model_gives_another_takes(model, launcher, lend):
    x = rng.standard_normal((3, 6), np.float32)
    first = model(lend(DeviceArray.of(launcher, x)))
    assert isinstance(first, DeviceArray) and first.shape == (3, 6)
    second = model(lend(first))
    np.testing.assert_array_equal(second.numpy(), np.maximum(x, 0))
    del first
    gc.collect()
    np.testing.assert_array_equal(np.asarray(second), np.maximum(x, 0))
    assert isinstance(model(x), np.ndarray)


def test_each_call_has_outputs_of_its_own(model, launcher):
    xs = [rng.standard_normal((n, 6), np.float32) for n in (1, 2, 2, 1)]
    got = [model(DeviceArray.of(launcher, x)) for x in xs]
    for x, y in zip(xs, got, strict=True):
        np.testing.assert_array_equal(y.numpy(), np.maximum(x, 0))


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"strides": (4, 8)}, "input 'x': an array in a GPU's memory should be in C order"),
        ({"mask": 1}, "input 'x': it is masked"),
        ({"typestr": "<f8", "shape": (1, 3)}, "input 'x' should be .*, got dtype float64"),
        ({"shape": (2, 3)}, r"input 'x' should be .*, got shape \[2, 3\]"),
    ],
)
def test_an_input_that_cannot_be_served_is_named(model, launcher, fields, says):
    array = DeviceArray.of(launcher, np.ones((1, 6), np.float32))
    with pytest.raises(InputError, match=says):
        model(Interface(array, **fields))
