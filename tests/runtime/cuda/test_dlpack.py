"""Capsules that NumPy and PyTorch read on the host, those of theirs that we read; leaks, crashes, lies."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from nbcnn.errors import InputError
from nbcnn.runtime.cuda import dlpack

HOST = (dlpack.CPU, 0)
DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]
SHAPES = [(), (1,), (5,), (2, 3, 4), (0, 3), (3, 1, 0), (1, 7, 1)]
VERSIONS = [None, (0, 8), (1, 0), (1, 9), (2, 0)]

rng = np.random.default_rng(3)


class Holder:
    """Keeps an array, and can be watched."""

    def __init__(self, array):
        self.array = array


def lend(array, version=None, device=HOST, copied=False):
    """A capsule of a host array, and a weak reference to what it keeps."""
    holder = Holder(array)
    made = dlpack.capsule(holder, array.ctypes.data, array.shape, array.dtype, device, version, copied)
    return made, weakref.ref(holder)


class Producer:
    """Gives a capsule to a consumer."""

    def __init__(self, capsule, device=HOST):
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return self.device


def some(shape, dtype="f4"):
    return np.asarray(rng.integers(0, 2 if dtype == "?" else 100, shape)).astype(dtype)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_numpy_reads_our_capsules(shape, version):
    array = some(shape)
    capsule, held = lend(array, version)
    assert ("versioned" in repr(capsule)) == (version is not None and version[0] >= 1)
    got = np.from_dlpack(Producer(capsule))
    np.testing.assert_array_equal(got, array)
    assert got.shape == shape and got.dtype == array.dtype
    if array.size:
        assert got.ctypes.data == array.ctypes.data
    del capsule
    assert held() is not None
    del got
    assert held() is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_types_go_both_ways(dtype):
    array = some((3, 2), dtype)
    np.testing.assert_array_equal(np.from_dlpack(Producer(lend(array, (1, 0))[0])), array)
    for capsule in (array.__dlpack__(), lend(array, (1, 0))[0]):
        taken = dlpack.take(capsule)
        assert taken.dtype == array.dtype and taken.shape == (3, 2) and taken.device == HOST
        assert taken.address == array.ctypes.data and not taken.read_only


@pytest.mark.parametrize("version", [None, (1, 0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_reads_our_capsules(shape, version):
    torch = pytest.importorskip("torch")
    array = some(shape)
    capsule, held = lend(array, version)
    got = torch.from_dlpack(capsule)
    np.testing.assert_array_equal(got.numpy(), array)
    assert "used" in repr(capsule)
    if array.size:
        assert got.data_ptr() == array.ctypes.data
    del capsule
    assert held() is not None
    del got
    assert held() is None


def test_a_capsule_that_nobody_uses_lets_go():
    for version in VERSIONS:
        capsule, held = lend(some((2, 2)), version)
        assert held() is not None
        del capsule
        assert held() is None


def test_the_device_and_the_copy_are_written_in():
    taken = dlpack.take(lend(some(3), (1, 0), (dlpack.CUDA, 5), copied=True)[0])
    assert taken.device == (dlpack.CUDA, 5)
    assert dlpack.take(lend(some(3), None, (dlpack.CUDA, 1), copied=True)[0]).device == (dlpack.CUDA, 1)
    for copied in (True, False):
        capsule, _ = lend(some(3), (1, 0), copied=copied)
        assert managed_of(capsule).flags == (dlpack.IS_COPIED if copied else 0)
    with pytest.raises((BufferError, RuntimeError), match="device"):
        np.from_dlpack(Producer(lend(some(3), None, (dlpack.CUDA, 0))[0], (dlpack.CUDA, 0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_we_read_capsules_of_torch(shape):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(some(shape).reshape(shape))
    for capsule in (tensor.__dlpack__(), tensor.__dlpack__(max_version=(1, 1))):
        taken = dlpack.take(capsule)
        assert taken.shape == shape and taken.dtype == np.float32 and taken.device == HOST
        assert taken.address == tensor.data_ptr() or not tensor.numel()
    capsule = torch.ones(4, 6)[1:, ::2].__dlpack__()
    assert dlpack.take(capsule).strides == (6, 2)


def test_flags_strides_and_offsets_of_others():
    array = some((4, 6))
    array.flags.writeable = False
    assert dlpack.take(array.__dlpack__(max_version=(1, 0))).read_only
    view = some((4, 6))[1:, ::-2]
    taken = dlpack.take(view.__dlpack__())
    assert taken.strides == (6, -2) and taken.address == view.ctypes.data
    capsule = some(8).__dlpack__()
    before = managed_of(capsule).tensor.data
    managed_of(capsule).tensor.byte_offset = 8
    assert dlpack.take(capsule).address == before + 8


def test_strides_may_be_missing():
    capsule = some((2, 3)).__dlpack__()
    managed_of(capsule).tensor.strides = None
    assert dlpack.take(capsule).strides is None


def managed_of(capsule):
    """The struct in a capsule."""
    versioned = "versioned" in repr(capsule)
    name = b"dltensor_versioned" if versioned else b"dltensor"
    get = ctypes.PyDLL(None).PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    kind = dlpack.Versioned if versioned else dlpack.Managed
    return kind.from_address(get(capsule, name))


class Counted:
    """A capsule of ctypes whose deleter counts."""

    def __init__(self, deleter=True, versioned=True):
        self.array, self.calls = some((2, 3)), []
        self.shape = (ctypes.c_int64 * 2)(2, 3)
        self.managed = (dlpack.Versioned if versioned else dlpack.Managed)()
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.calls.append)
        self.managed.deleter = ctypes.cast(self.call, ctypes.c_void_p).value if deleter else None
        tensor = self.managed.tensor
        tensor.data, tensor.ndim, tensor.shape = self.array.ctypes.data, 2, self.shape
        tensor.code, tensor.bits, tensor.lanes, tensor.device = 2, 32, 1, HOST
        if versioned:
            self.managed.major = 1
        new = ctypes.PyDLL(None).PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        self.name = b"dltensor_versioned" if versioned else b"dltensor"
        self.capsule = new(ctypes.addressof(self.managed), self.name, None)


@pytest.mark.parametrize("versioned", [True, False])
def test_a_deleter_is_called_once_when_the_loan_ends(versioned):
    lent = Counted(versioned=versioned)
    taken = dlpack.take(lent.capsule)
    assert taken.strides is None
    other = taken.loan
    del taken
    assert not lent.calls
    del other
    assert lent.calls == [ctypes.addressof(lent.managed)]
    with pytest.raises(InputError, match="used before"):
        dlpack.take(lent.capsule)
    lent.capsule = None
    assert len(lent.calls) == 1


def test_a_deleter_is_called_from_whatever_thread_is_the_last():
    lent = Counted()
    loans = [dlpack.take(lent.capsule).loan]
    thread = threading.Thread(target=loans.clear)
    thread.start()
    thread.join()
    assert len(lent.calls) == 1


def test_a_deleter_is_called_while_an_error_is_raised():
    lent = Counted()
    with pytest.raises(ZeroDivisionError):
        print(dlpack.take(lent.capsule), 1 / 0)
    gc.collect()
    assert len(lent.calls) == 1


def test_our_capsules_let_go_while_an_error_is_raised():
    for version in VERSIONS:
        holder = Holder(some(4))
        held = weakref.ref(holder)
        args = (holder.array.ctypes.data, (4,), holder.array.dtype, HOST, version)
        with pytest.raises(ZeroDivisionError):
            print(dlpack.capsule(holder, *args), 1 / 0)
        del holder
        assert held() is None


def test_a_capsule_without_a_deleter_is_fine():
    lent = Counted(deleter=False)
    assert dlpack.take(lent.capsule).loan is None


def _set(**fields):
    def change(managed):
        for name, value in fields.items():
            setattr(managed.tensor, name, value)

    return change


def _extent(value):
    def change(managed):
        managed.tensor.shape[1] = value

    return change


def _version(managed):
    managed.major, managed.minor = 2, 3


LIES = {
    "-1 dimensions": _set(ndim=-1),
    "2147483647 dimensions": _set(ndim=2**31 - 1),
    "no shape for its 2": _set(shape=None),
    "negative extent": _extent(-3),
    "no address": _set(data=None),
    "are bfloat16": _set(code=4, bits=16),
    "are float32 x 4": _set(lanes=4),
    "are int7": _set(code=0, bits=7),
    "type 77, bits 8": _set(code=77, bits=8),
    "speaks DLPack 2.3": _version,
}


@pytest.mark.parametrize("message", LIES)
def test_a_capsule_that_makes_no_sense_is_refused_and_left_alone(message):
    lent = Counted()
    LIES[message](lent.managed)
    with pytest.raises(InputError, match=message):
        dlpack.take(lent.capsule)
    assert not lent.calls  # it is its destructor's to call the deleter
    assert repr(lent.capsule).startswith('<capsule object "dltensor_versioned"')


@pytest.mark.parametrize("thing", [None, 3, object(), np.ones(3)])
def test_what_is_no_capsule_is_refused(thing):
    with pytest.raises(InputError, match=r"should give a DLPack capsule, not"):
        dlpack.take(thing)


def test_another_kind_of_capsule_is_refused():
    import datetime

    with pytest.raises(InputError, match=r"should give a DLPack capsule, not PyCapsule"):
        dlpack.take(datetime.datetime_CAPI)


def test_nothing_leaks():
    array = some((64, 64))

    def rounds(count):
        for i in range(count):
            version = (1, 0) if i % 2 else None
            dlpack.take(lend(array, version)[0])
            np.from_dlpack(Producer(lend(array, version)[0]))
            lend(array, version)

    rounds(50)
    references = sys.getrefcount(array)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rounds(300)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sys.getrefcount(array) == references
    assert grown < 300 * 16  # not a byte a round, but for what Python itself keeps


AT_THE_END = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
from nbcnn.runtime.cuda import dlpack
a = np.arange(6.0)
class Late:
    def __init__(self, *held): self.held = held
    def __del__(self): print("late", end=" ")
def made(version): return dlpack.capsule(a, a.ctypes.data, a.shape, a.dtype, (1, 0), version)
class P:
    def __init__(self, c): self.c = c
    def __dlpack__(self, **k): return self.c
    def __dlpack_device__(self): return (1, 0)
kept = [made(None), made((1, 0)), dlpack.take(made(None)), dlpack.take(a.__dlpack__(max_version=(1, 0)))]
kept += [np.from_dlpack(P(made(None))), Late(made((1, 0)), dlpack.take(made(None)))]
if {torch}:
    import torch
    kept += [torch.from_dlpack(made((1, 0))), dlpack.take(torch.ones(3).__dlpack__())]
    torch.kept = kept  # lives in a module of C++ to the end
cycle = [kept]; cycle.append(cycle)
sys.kept = cycle
print("done", end=" ")
"""


@pytest.mark.parametrize("torch", [False, True])
def test_the_interpreter_ends_with_capsules_about(torch):
    if torch:
        pytest.importorskip("torch")
    code = AT_THE_END.format(folder=sys.path[0], torch=torch)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("done")
