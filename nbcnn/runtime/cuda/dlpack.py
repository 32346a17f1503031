"""DLPack: arrays that others lend, and capsules in which ours are lent.

Reference: dlpack.h 1.1, and the Python specification of DLPack. Capsules are NumPy's, of an array that lies
at the device's address and is never read, with the device written in: their destructors and deleters are C
code, fit for an exception under way, for threads that do not hold the interpreter's lock, and for its end,
where callbacks of ctypes crash.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbcnn.errors import InputError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""Device types: kDLCPU and so on."""

READ_ONLY, IS_COPIED = 1, 2
"""Flags of versioned capsules."""

VERSION = (1, 1)
"""The newest that is understood; of the same first number, newer ones can be read too."""

MOST_DIMENSIONS = 32

_INT, _UINT, _FLOAT, _COMPLEX, _BOOL = 0, 1, 2, 5, 6
_NAMES = {_INT: "int", _UINT: "uint", _FLOAT: "float", 3: "handle", 4: "bfloat", _COMPLEX: "complex"}
_DTYPES = {
    **{(_INT, 8 * n): np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{(_UINT, 8 * n): np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{(_FLOAT, 8 * n): np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{(_COMPLEX, 8 * n): np.dtype(f"c{n}") for n in (8, 16)},
    (_BOOL, 8): np.dtype(bool),
}


class Device(ctypes.Structure):
    """DLDevice."""

    _fields_ = (("type", c_int32), ("index", c_int32))


class Tensor(ctypes.Structure):
    """DLTensor; strides are in elements, or NULL in C order."""

    _fields_ = (
        ("data", c_void_p),
        ("device", Device),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", Tensor), ("context", c_void_p), ("deleter", c_void_p))


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned; of other versions than 1 only the fields up to ``deleter`` are known."""

    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", Tensor),
    )


_KINDS: tuple[tuple[bytes, bytes, type[Managed] | type[Versioned]], ...] = (
    (b"dltensor_versioned", b"used_dltensor_versioned", Versioned),
    (b"dltensor", b"used_dltensor", Managed),
)
"""Names of capsules before and after they are used, and what they hold."""

_api = ctypes.PyDLL(None)  # an own one: the argument types of ctypes.pythonapi are everybody's
_api.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_GetPointer.restype = c_void_p
_api.PyCapsule_SetName.argtypes = (ctypes.py_object, ctypes.c_char_p)
for _, _used, _ in _KINDS:  # a capsule may outlive this module, and has no copy of its name
    _api.Py_IncRef(ctypes.py_object(_used))
_Deleter = ctypes.PYFUNCTYPE(None, c_void_p)  # called with the interpreter's lock: deleters may need it

_VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"  # earlier, NumPy knew the old capsules alone


class Loan:
    """Gives memory back to who lent it, once, when nobody has this object any more."""

    __slots__ = ("_deleter", "_managed")

    def __init__(self, deleter: Callable[[int], None], managed: int) -> None:
        self._deleter, self._managed = deleter, managed

    def __del__(self) -> None:
        self._deleter(self._managed)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was in a capsule; ``strides`` in elements (None: C order), ``loan`` keeps the memory."""

    device: tuple[int, int]
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype
    read_only: bool
    loan: Loan | None


def capsule(
    owner: Any,
    address: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    device: tuple[int, int],
    max_version: tuple[int, int] | None = None,
    copied: bool = False,
) -> Any:
    """A capsule that lends the C-ordered array at ``address``, and keeps ``owner`` alive while it is lent.

    It is versioned if the consumer's ``max_version`` is 1.0 or later (and NumPy's at least 2.1).
    """
    array = np.asarray(_At(owner, address, shape, dtype))
    versioned = _VERSIONED and max_version is not None and max_version[0] >= 1
    made = array.__dlpack__(max_version=(1, 0)) if versioned else array.__dlpack__()  # type: ignore[call-arg]
    name, _, kind = _KINDS[0 if versioned else 1]
    managed = kind.from_address(_api.PyCapsule_GetPointer(made, name))
    managed.tensor.device = device
    if copied and isinstance(managed, Versioned):
        managed.flags |= IS_COPIED
    return made


class _At:
    """To NumPy, the memory at an address; the array that NumPy makes of it keeps this alive."""

    __slots__ = ("__array_interface__", "_owner")

    def __init__(self, owner: Any, address: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
        }


def take(capsule: Any) -> Taken:
    """Use up a capsule.

    Raises InputError for one that is used or makes no sense, and leaves that as it is.
    """
    found = next((kinds for kinds in _KINDS if _api.PyCapsule_IsValid(capsule, kinds[0])), None)
    if found is None:
        if any(_api.PyCapsule_IsValid(capsule, used) for _, used, _ in _KINDS):
            raise InputError("its DLPack capsule has been used before; each can be used once")
        raise InputError(f"its __dlpack__() should give a DLPack capsule, not {type(capsule).__name__}")
    name, used, kind = found
    pointer = _api.PyCapsule_GetPointer(capsule, name)
    managed = kind.from_address(pointer)
    read_only = False
    if isinstance(managed, Versioned):
        if managed.major != VERSION[0]:
            version = f"{managed.major}.{managed.minor}"
            raise InputError(f"it speaks DLPack {version}; this program, {VERSION[0]}.{VERSION[1]}")
        read_only = bool(managed.flags & READ_ONLY)
    tensor = _read(managed.tensor)
    deleter = managed.deleter
    _api.PyCapsule_SetName(capsule, used)
    loan = Loan(_Deleter(deleter), pointer) if deleter else None
    return Taken(*tensor, read_only, loan)


def _read(
    tensor: Tensor,
) -> tuple[tuple[int, int], int, tuple[int, ...], tuple[int, ...] | None, np.dtype]:
    """Device, address, shape, strides and dtype; raises InputError."""
    rank, data = tensor.ndim, tensor.data or 0
    if not 0 <= rank <= MOST_DIMENSIONS:
        raise InputError(f"its DLPack capsule tells of {rank} dimensions, not 0 to {MOST_DIMENSIONS}")
    if rank and not tensor.shape:
        raise InputError(f"its DLPack capsule has no shape for its {rank} dimensions")
    shape = tuple(tensor.shape[:rank])
    if any(n < 0 for n in shape):
        raise InputError(f"its DLPack capsule has a negative extent: shape {list(shape)}")
    strides = tuple(tensor.strides[:rank]) if tensor.strides else None
    code, bits, lanes = tensor.code, tensor.bits, tensor.lanes
    dtype = _DTYPES.get((code, bits))
    if dtype is None or lanes != 1:
        word = _NAMES.get(code, f"type {code}, bits ") + str(bits) + (f" x {lanes}" if lanes != 1 else "")
        raise InputError(f"its elements are {word}, which NumPy does not have: convert it to float32 first")
    if not data and 0 not in shape:
        raise InputError(f"its DLPack capsule has no address for shape {list(shape)}")
    return (tensor.device.type, tensor.device.index), data + tensor.byte_offset, shape, strides, dtype
