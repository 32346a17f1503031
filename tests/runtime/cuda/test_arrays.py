"""Arrays that stay in a device's memory: what they are, how they are lent, when they are freed."""

from __future__ import annotations

import copy
import gc
import pickle
import threading

import numpy as np
import pytest
from device_arrays import OURS, SHAPES, Device, resident, values_of

from nbcnn.runtime.cuda import dlpack
from nbcnn.runtime.cuda.arrays import DeviceArray, borrow

rng = np.random.default_rng(11)


@pytest.fixture
def device():
    return Device()


@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "?"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_and_its_way_to_the_host(device, shape, dtype):
    values = np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    array = resident(device, values)
    assert (array.shape, array.dtype, array.ndim) == (shape, np.dtype(dtype), len(shape))
    assert (array.size, array.nbytes) == (values.size, values.nbytes)
    for got in (array.numpy(), np.asarray(array), np.array(array)):
        np.testing.assert_array_equal(got, values)
        assert got.shape == shape and got.dtype == values.dtype
    assert np.asarray(array, "f8").dtype == np.float64
    assert repr(array) == f'DeviceArray(shape={shape}, dtype={np.dtype(dtype)}, device="Numba\'s simulator")'
    if shape:
        assert len(array) == shape[0]
    else:
        with pytest.raises(TypeError, match="without dimensions"):
            len(array)


def test_an_array_of_the_host_need_not_be_contiguous(device):
    values = rng.standard_normal((4, 6))[::2, ::-1]
    np.testing.assert_array_equal(DeviceArray.of(device, values).numpy(), values)


def test_the_host_is_another_place(device):
    array = resident(device, np.ones(3, "f4"))
    with pytest.raises(ValueError, match="without a copy"):
        array.__array__(copy=False)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"use \.numpy\(\)"):
            attempt(array)


def test_memory_is_freed_with_its_last_user(device):
    array = resident(device, np.ones(3, "f4"))
    capsules = [array.__dlpack__(), array.__dlpack__(max_version=(1, 0))]
    lent = borrow(array, device, OURS)
    del array
    assert device.live == 1
    del capsules[0]
    assert device.live == 1
    capsules.clear()
    np.testing.assert_array_equal(values_of(lent), 1)
    thread = threading.Thread(target=lambda kept: kept.clear(), args=([lent],))
    del lent
    thread.start()
    thread.join()
    del thread
    assert device.live == 0


def test_memory_is_freed_in_a_cycle_and_after_an_error(device):
    array = resident(device, np.ones(3, "f4"))
    cycle = [array, array.__dlpack__()]
    cycle.append(cycle)
    del array, cycle
    gc.collect()
    assert device.live == 0
    with pytest.raises(ZeroDivisionError):
        print(resident(device, np.ones(3, "f4")).__dlpack__(), 1 / 0)
    assert device.live == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", [None, (1, 1)])
def test_capsules_tell_what_the_array_is(device, shape, version):
    array = resident(device, np.asarray(rng.standard_normal(shape)))
    device.index = 3
    assert array.__dlpack_device__() == (dlpack.CUDA, 3)
    taken = dlpack.take(array.__dlpack__(stream=-1, max_version=version, dl_device=(dlpack.CUDA, 3)))
    assert taken.device == (dlpack.CUDA, 3)
    assert (taken.shape, taken.dtype) == (shape, np.float64)
    assert taken.address == array.address or not array.size


@pytest.mark.parametrize(
    "given, waits", [(None, [(1, 7)]), (1, [(1, 7)]), (2, [(2, 7)]), (7, []), (99, [(99, 7)]), (-1, [])]
)
def test_the_consumers_stream_waits_for_ours(device, given, waits):
    array = resident(device, np.ones(3))
    array.__dlpack__(stream=given)
    assert device.waits == waits
    complete = DeviceArray.empty(device, (3,), "f4")
    complete.__dlpack__(stream=given)
    assert device.waits == waits


@pytest.mark.parametrize("stream", [0, -2, "1", 1.0, True])
def test_a_stream_that_cannot_be_is_refused(device, stream):
    with pytest.raises(ValueError, match="a stream should be None"):
        resident(device, np.ones(3)).__dlpack__(stream=stream)


def test_a_copy_is_asked_for(device):
    values = rng.standard_normal((2, 5))
    array = resident(device, values)
    taken = dlpack.take(array.__dlpack__(copy=True))
    assert taken.address != array.address and device.live == 2
    np.testing.assert_array_equal(values_of(taken), values)
    del taken
    assert device.live == 1
    assert dlpack.take(array.__dlpack__(copy=False)).address == array.address


def test_a_copy_on_the_host_is_asked_for(device):
    values = rng.standard_normal((2, 5))
    array = resident(device, values)
    taken = dlpack.take(array.__dlpack__(dl_device=(dlpack.CPU, 0), max_version=(1, 0)))
    assert taken.device == (dlpack.CPU, 0)
    np.testing.assert_array_equal(values_of(taken), values)
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        np.testing.assert_array_equal(np.from_dlpack(array, device="cpu"), values)
    with pytest.raises(BufferError, match="without a copy"):
        array.__dlpack__(dl_device=(dlpack.CPU, 0), copy=False)
    with pytest.raises(BufferError, match=r"cannot be lent to \(10, 0\)"):
        array.__dlpack__(dl_device=(10, 0))


def test_the_cuda_array_interface(device):
    array = resident(device, np.ones((2, 3), "f2"))
    assert array.__cuda_array_interface__ == {
        "version": 3,
        "shape": (2, 3),
        "typestr": "<f2",
        "data": (array.address, False),
        "strides": None,
        "stream": 7,
    }
    assert DeviceArray.empty(device, (0, 3), "f4").__cuda_array_interface__["data"] == (0, False)
