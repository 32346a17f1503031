"""Arrays that other libraries lend: taken where they lie, or refused in one line."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from device_arrays import OURS, SHAPES, Device, resident, values_of

from nbcnn.errors import InputError
from nbcnn.runtime.cuda import dlpack
from nbcnn.runtime.cuda.arrays import borrow

rng = np.random.default_rng(12)


@pytest.fixture
def device():
    return Device()


class Interface:
    """An array of a library that knows the CUDA array interface alone; ``fields`` in place of true ones."""

    def __init__(self, array, **fields):
        self.array = array
        interface = {"version": 3, "shape": array.shape, "typestr": array.dtype.str,
                     "data": (array.address, False), "strides": None, "stream": 7} | fields  # fmt: skip
        self.__cuda_array_interface__ = {k: v for k, v in interface.items() if v is not ...}


class Library:
    """An array of a library that knows DLPack alone, maybe an old one; ``change`` changes what it tells."""

    def __init__(self, array, device=None, old=False, change=None):
        self.array, self.device, self.old, self.change = array, device, old, change
        self.streams = []

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()

    def __dlpack__(self, stream=None, **options):
        if self.old and options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        capsule = self.array.__dlpack__(stream=stream, **options)
        if self.change:
            kind = dlpack.Managed if self.old else dlpack.Versioned
            name = b"dltensor" if self.old else b"dltensor_versioned"
            self.change(kind.from_address(dlpack._api.PyCapsule_GetPointer(capsule, name)).tensor)
        return capsule


LENDERS = {
    "ours": lambda array: array,
    "interface": Interface,
    "version 2": lambda array: Interface(array, version=2, stream=...),
    "library": Library,
    "old library": lambda array: Library(array, old=True),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", LENDERS)
def test_arrays_are_borrowed_where_they_lie(device, shape, how):
    values = np.asarray(rng.standard_normal(shape).astype("f4"))
    array = resident(device, values)
    held, lender = weakref.ref(array), LENDERS[how](array)
    lent = borrow(lender, device, OURS)
    assert (lent.shape, lent.dtype) == (shape, np.float32)
    assert device.waits == ([] if how == "version 2" else [(OURS, 7)])
    np.testing.assert_array_equal(values_of(lent), values)
    del array, lender
    gc.collect()
    assert held() is not None
    del lent
    assert held() is None and device.live == 0


def test_what_is_on_the_host_is_left_there(device):
    for value in (np.ones(3), [1.0], 3, None, "x", object(), memoryview(b"abc"), np.float32(1)):
        assert borrow(value, device, OURS) is None
    assert borrow(Library(None, device=(dlpack.CPU, 0)), device, OURS) is None
    assert borrow(Library(None, device=(dlpack.CUDA_HOST, 0)), device, OURS) is None
    torch = pytest.importorskip("torch")
    assert borrow(torch.ones(3), device, OURS) is None


def test_one_stream_waits_not_for_itself(device):
    array = resident(device, np.ones(3, "f4"), OURS)
    borrow(array, device, OURS)
    borrow(Interface(array, stream=OURS), device, OURS)
    borrow(Interface(array, stream=None), device, OURS)
    assert device.waits == []
    borrow(Interface(array, stream=2), device, OURS)
    assert device.waits == [(OURS, 2)]


def test_the_protocol_that_synchronises_is_taken(device):
    """The interface where it names a stream, also none; DLPack where it does not, or fails."""
    array = resident(device, np.ones(3, "f4"))

    class Both(Library, Interface):
        def __init__(self, **fields):
            Library.__init__(self, array)
            Interface.__init__(self, array, **fields)

    for fields, capsules in (({}, 0), ({"stream": None}, 0), ({"stream": ..., "version": 2}, 1)):
        lender = Both(**fields)
        assert borrow(lender, device, OURS).address == array.address
        assert lender.streams == [OURS] * capsules

    class Failing(Library):
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("it requires gradients")

    assert borrow(Failing(array), device, OURS).address == array.address

    class Alone:
        __cuda_array_interface__ = Failing.__cuda_array_interface__

    with pytest.raises(InputError, match="its __cuda_array_interface__ failed: it requires gradients"):
        borrow(Alone(), device, OURS)
    Alone.__cuda_array_interface__ = "nonsense"
    with pytest.raises(InputError, match="should be a dict, not str"):
        borrow(Alone(), device, OURS)


def test_managed_memory_is_the_devices_too(device):
    array = resident(device, np.ones(3, "f4"))

    def managed(tensor):
        tensor.device = (dlpack.CUDA_MANAGED, 0)

    lent = borrow(Library(array, device=(dlpack.CUDA_MANAGED, 0), change=managed), device, OURS)
    assert lent.address == array.address


def test_what_is_in_c_order_by_its_extents_of_one(device):
    array = resident(device, np.ones((2, 1, 3), "f4"))
    assert borrow(Interface(array, strides=(12, 999, 4)), device, OURS)
    assert borrow(Interface(array, strides=(12, 12, 4)), device, OURS)
    assert borrow(Interface(array, shape=(0, 3), strides=(8, 8)), device, OURS)


def _fail(_):
    raise BufferError("detach it")


def _fields(**fields):
    def change(tensor):
        for name, value in fields.items():
            setattr(tensor, name, value)

    return change


def _shape(*extents):
    def change(tensor):
        for i, n in enumerate(extents):
            tensor.shape[i] = n

    return change


def _strides(*strides):
    array = (dlpack.c_int64 * len(strides))(*strides)
    return lambda tensor: setattr(tensor, "strides", array)


REFUSED = {
    "in C order, got shape .2, 3. with strides of .4, 8.": {"strides": (4, 8)},
    r"strides of \[-12, 4\] bytes: call .contiguous": {"strides": (-12, 4)},
    "has 1 strides for the 2": {"strides": (4,)},
    "it is masked": {"mask": "anything"},
    "version 1, not 2 or 3": {"version": 1},
    "version 4, not 2 or 3": {"version": 4},
    "KeyError": {"typestr": ...},
    "makes no sense: TypeError.*integer": {"shape": (2.0, 3)},
    "makes no sense: TypeError": {"shape": 3},
    "no sense: TypeError.*understood": {"typestr": "nonsense"},
    "elements are object": {"typestr": "|O"},
    "elements are >f4": {"typestr": ">f4"},
    "makes no sense": {"data": None},
    "the address 0x0": {"data": (0, False)},
    "the address -0x100": {"data": (-256, False)},
    "the address 0xfffffffffffffff8": {"data": (2**64 - 8, False)},
    "not at a whole float32": {"data": (0x1001, False)},
    "negative extent": {"shape": (-2, -3)},
    "would be 17,179,869,184 bytes, Numba's simulator has 1,048,576": {"shape": (1 << 16, 1 << 16)},
    "more than 64 bits": {"shape": (10**5000,)},
    "numbers of more than 64": {"strides": (-(10**5000), 4)},
    "of more than 64": {"data": (10**5000, False)},
    "more than 64": {"stream": 2**64},
    "names stream 0": {"stream": 0},
    "names stream -1": {"stream": -1},
    "sense: TypeError.*'str'": {"stream": "one"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_an_interface_that_cannot_be_served_is_refused(device, message):
    array = resident(device, np.ones((2, 3), "f4"))
    with pytest.raises(InputError, match=message) as refused:
        borrow(Interface(array, **REFUSED[message]), device, OURS)
    assert "\n" not in str(refused.value)
    assert not device.waits


LIES = {
    "strides of .8, 4. bytes": _strides(2, 1),
    "negative extent": _shape(-1),
    "would be": _shape(1 << 62, 1 << 62),
    "no address": _fields(data=None),
    "cannot lie at": _fields(byte_offset=2**64 - 8),
    "not at a whole float32": _fields(byte_offset=2),
    "99 dimensions": _fields(ndim=99),
    "bfloat16": _fields(code=4, bits=16),
    "of a device of type 1": _fields(device=(dlpack.CPU, 0)),
    "on GPU 1, and the model on GPU 0": _fields(device=(dlpack.CUDA, 1)),
    "failed: detach it": _fail,
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("message", LIES)
def test_a_capsule_that_cannot_be_served_is_refused_and_let_go(device, message, old):
    array = resident(device, np.ones((2, 3), "f4"))
    with pytest.raises(InputError, match=message) as refused:
        borrow(Library(array, old=old, change=LIES[message]), device, OURS)
    assert "\n" not in str(refused.value)
    del array, refused
    gc.collect()
    assert device.live == 0


def test_what_is_on_another_device_is_refused(device):
    with pytest.raises(InputError, match="DLPack type 10, not CUDA: copy it"):
        borrow(Library(None, device=(10, 0)), device, OURS)
    array = resident(Device(index=1), np.ones(3, "f4"))
    with pytest.raises(InputError, match="it is on GPU 1, and the model on GPU 0"):
        borrow(array, device, OURS)
    for answer in ((2,), "ab", None.__class__):
        with pytest.raises(InputError, match=r"__dlpack_device__\(\) failed"):
            borrow(Library(None, device=answer), device, OURS)


def test_another_libraries_array_without_a_capsule_is_refused(device):
    class Odd(Library):
        def __dlpack__(self, **_):
            return "capsule"

    with pytest.raises(InputError, match="should give a DLPack capsule, not str"):
        borrow(Odd(resident(device, np.ones(3))), device, OURS)
