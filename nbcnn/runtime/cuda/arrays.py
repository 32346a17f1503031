"""Arrays in a GPU's memory: outputs that stay there, and inputs that other libraries lend without a copy.

Protocols: DLPack (``__dlpack__``), and the CUDA array interface 2 and 3 of Numba. By both, streams are
handles of the driver, where 1 is the legacy default stream and 2 that of the thread; 0 would be ambiguous.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from nbcnn.errors import InputError
from nbcnn.runtime.cuda import dlpack
from nbcnn.runtime.cuda.launcher import Launcher

LEGACY = 1
"""The stream that a consumer means who names none."""

NO_WAIT = -1
"""What a consumer says who will synchronise by itself."""


class DeviceArray:
    """An array in a device's memory, in C order; what a model gives whose inputs lie there.

    It goes without a copy to PyTorch (``torch.from_dlpack``), CuPy (``cupy.from_dlpack``), Numba and back to
    a model; `numpy` and ``numpy.asarray`` copy it to the host. Its memory is freed when nobody uses it any
    more and the device is done with it. Work on ``stream`` writes it (None: it is complete).
    """

    def __init__(
        self, launcher: Launcher, address: int, shape: Sequence[int], dtype: Any, stream: int | None
    ) -> None:
        """Takes over the memory at ``address``, which ``launcher`` allocated; see `empty`."""
        self._launcher = launcher
        self.address = address
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.stream = stream
        weakref.finalize(self, launcher.free, address).atexit = False  # the process's end frees it as well

    @classmethod
    def empty(
        cls, launcher: Launcher, shape: Sequence[int], dtype: Any, stream: int | None = None
    ) -> DeviceArray:
        """An array of whatever the memory holds; raises DeviceError where there is too little."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        return cls(launcher, launcher.allocate(max(nbytes, 1)), shape, dtype, stream)

    @classmethod
    def of(cls, launcher: Launcher, values: np.ndarray) -> DeviceArray:
        """A copy of an array of the host; raises DeviceError where there is too little memory."""
        array = cls.empty(launcher, values.shape, values.dtype)
        if values.nbytes:
            launcher.upload(array.address, np.ascontiguousarray(values), LEGACY)
            launcher.synchronize(LEGACY)
        return array

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self._launcher.name!r})"

    def __reduce__(self) -> Any:
        raise TypeError("an array in a GPU's memory cannot be copied or pickled as it is: use .numpy()")

    def numpy(self) -> np.ndarray:
        """A copy on the host, once what writes the array is done."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            stream = LEGACY if self.stream is None else self.stream
            self._launcher.download(array, self.address, stream)
            self._launcher.synchronize(stream)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array in a GPU's memory cannot be on the host without a copy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "stream": self.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, _index(self._launcher)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule, which ``stream`` may use: it waits for what writes the array.

        ``dl_device`` (1, 0) gives a copy on the host. Raises BufferError for other devices, and ValueError
        for a stream that cannot be.
        """
        here = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) != here:
            if tuple(dl_device) != (dlpack.CPU, 0):
                raise BufferError(f"the array is on DLPack device {here}, and cannot be lent to {dl_device}")
            if copy is False:
                raise BufferError("an array in a GPU's memory cannot be lent to the host without a copy")
            host = self.numpy()
            address = host.ctypes.data
            return dlpack.capsule(host, address, self.shape, self.dtype, (dlpack.CPU, 0), max_version, True)
        given = DeviceArray.of(self._launcher, self.numpy()) if copy else self  # by way of the host
        given._hand_to(LEGACY if stream is None else stream)
        address = given.address
        return dlpack.capsule(given, address, self.shape, self.dtype, here, max_version, bool(copy))

    def _hand_to(self, stream: int) -> None:
        """Have another's stream wait for what writes the array."""
        if isinstance(stream, bool) or not isinstance(stream, int) or stream == 0 or stream < NO_WAIT:
            raise ValueError(f"a stream should be None, -1 (no waiting), 1, 2 or a handle, not {stream!r}")
        if stream != NO_WAIT and self.stream is not None and stream != self.stream:
            self._launcher.wait(stream, self.stream)


@dataclass(frozen=True, slots=True)
class Lent:
    """An array of another library in the device's memory, in C order.

    The memory stays what it is as long as ``keep_alive`` lives, which has to be until the device has done all
    that was asked of it with this array.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    keep_alive: Any


def borrow(value: Any, launcher: Launcher, stream: int) -> Lent | None:
    """``value`` where it lies in the device's memory; None for what is on the host, or no array at all.

    Work on ``stream`` from now on may read it. Raises InputError, without the name of the input, for an array
    on another device, not in C order, masked, or told of in a way that makes no sense.
    """
    if isinstance(value, np.ndarray):
        return None
    capsules = hasattr(value, "__dlpack_device__")
    if capsules:
        kind, number = _device(value)
        if kind in (dlpack.CPU, dlpack.CUDA_HOST):
            return None
        if kind not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
            raise InputError(f"it is on a device of DLPack type {kind}, not CUDA: copy it to the host")
        if kind == dlpack.CUDA and number != _index(launcher):
            raise InputError(f"it is on GPU {number}, and the model on GPU {_index(launcher)}")
    interface = _interface(value, capsules)
    if interface is not None and ("stream" in interface or not capsules):
        return _of_interface(interface, value, launcher, stream)
    return _of_dlpack(value, launcher, stream) if capsules else None


def _device(value: Any) -> tuple[int, int]:
    try:
        kind, number = value.__dlpack_device__()
        return int(kind), int(number)
    except Exception as error:  # whatever it may be, it is the other library's
        raise InputError(f"its __dlpack_device__() failed: {error}") from error


def _interface(value: Any, capsules: bool) -> Mapping[str, Any] | None:
    """The CUDA array interface: with a stream in it, a quarter of the work that a capsule is."""
    try:
        found = getattr(value, "__cuda_array_interface__", None)
    except Exception as error:  # PyTorch's, of a tensor that requires gradients; its capsule will tell more
        if capsules:
            return None
        raise InputError(f"its __cuda_array_interface__ failed: {error}") from error
    if found is not None and not isinstance(found, Mapping):
        raise InputError(f"its __cuda_array_interface__ should be a dict, not {type(found).__name__}")
    return found


def _of_dlpack(value: Any, launcher: Launcher, stream: int) -> Lent:
    try:
        try:
            capsule = value.__dlpack__(stream=stream, max_version=dlpack.VERSION)
        except TypeError:  # from before versions
            capsule = value.__dlpack__(stream=stream)
    except Exception as error:
        raise InputError(f"its __dlpack__() failed: {error}") from error
    taken = dlpack.take(capsule)
    if taken.device[0] not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
        raise InputError(f"its DLPack capsule is of a device of type {taken.device[0]}, not a CUDA device")
    if taken.device[0] == dlpack.CUDA and taken.device[1] != _index(launcher):
        raise InputError(f"it is on GPU {taken.device[1]}, and the model on GPU {_index(launcher)}")
    strides = None if taken.strides is None else [s * taken.dtype.itemsize for s in taken.strides]
    _check(taken.address, taken.shape, taken.dtype, strides, launcher)
    return Lent(taken.address, taken.shape, taken.dtype, taken.loan)


def _of_interface(interface: Mapping[str, Any], value: Any, launcher: Launcher, stream: int) -> Lent:
    try:
        version, mask, other = interface["version"], interface.get("mask"), interface.get("stream")
        dtype = np.dtype(interface["typestr"])
        address = index(interface["data"][0])
        shape = tuple(map(index, interface["shape"]))
        strides = None if interface.get("strides") is None else tuple(map(index, interface["strides"]))
        other = None if other is None else index(other)
    except Exception as error:
        raise InputError(f"its __cuda_array_interface__ makes no sense: {error!r}") from error
    if any(abs(n) >= 2**64 for n in (address, *shape, *(strides or ()), other or 0)):
        raise InputError("its __cuda_array_interface__ has numbers of more than 64 bits")
    if version not in (2, 3):
        raise InputError(f"its __cuda_array_interface__ is of version {version!r}, not 2 or 3")
    if mask is not None:
        raise InputError("it is masked, which a model cannot take: fill it first")
    if other is not None and other < 1:
        raise InputError(f"its __cuda_array_interface__ names stream {other}, which cannot be")
    _check(address, shape, dtype, strides, launcher)
    if other is not None and other != stream:
        launcher.wait(stream, other)
    return Lent(address, shape, dtype, value)


def _check(
    address: int,
    shape: Sequence[int],
    dtype: np.dtype,
    strides: Sequence[int] | None,
    launcher: Launcher,
) -> None:
    """Raise InputError for what cannot be an array in C order; ``strides`` are in bytes."""
    if dtype.kind not in "fiubc" or not dtype.isnative:
        raise InputError(f"its elements are {dtype}, which a model cannot take: convert it to float32 first")
    if any(n < 0 for n in shape):
        raise InputError(f"it has a negative extent: shape {list(shape)}")
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > launcher.memory:
        raise InputError(
            f"shape {list(shape)} of {dtype} would be {nbytes:,} bytes, "
            f"{launcher.name} has {launcher.memory:,}"
        )
    if nbytes and not 0 < address <= 2**64 - nbytes:
        raise InputError(f"it cannot lie at the address {address:#x}")
    if nbytes and address % dtype.itemsize:
        raise InputError(f"it begins at {address:#x}, not at a whole {dtype}: copy it")
    if strides is None or not nbytes:
        return
    if len(strides) != len(shape):
        raise InputError(f"it has {len(strides)} strides for the {len(shape)} dimensions of {list(shape)}")
    step = dtype.itemsize
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != step:
            raise InputError(
                f"an array in a GPU's memory should be in C order, got shape {list(shape)} with strides of "
                f"{list(strides)} bytes: call .contiguous() (PyTorch) or cupy.ascontiguousarray on it"
            )
        step *= n


def _index(launcher: Launcher) -> int:
    """Which of the GPUs it is; there is one simulator only."""
    return getattr(launcher, "index", 0)
