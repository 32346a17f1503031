"""The CUDA driver's functions, called in the context of one device, every result checked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.results import DEINITIALIZED, NO_DEVICE, STICKY, explain, label

LEAST_VERSION = 13000
"""CUDA 13.0, as the compiler that makes the machine code; the first driver of that kind is 580."""


def connect(load: Callable[[], Any]) -> tuple[Any, int]:
    """The module ``cuda.bindings.driver`` that ``load()`` gives, made ready, and the number of GPUs.

    Raises DeviceError where the module, the driver or a GPU is missing, or the driver is too old.
    """
    try:
        api = load()
    except ImportError as error:
        raise DeviceError(
            f"running on a GPU needs cuda-bindings: pip install nbcnn[cuda] ({error})"
        ) from error
    driver = Driver(api, "CUDA")
    try:
        version = driver.bare("cuDriverGetVersion")
    except RuntimeError as error:  # libcuda.so.1 cannot be loaded
        raise DeviceError(
            f"no NVIDIA driver ({error}): install one, 580 or newer; start a container with --gpus all"
        ) from error
    if version < LEAST_VERSION:
        found, least = (f"{v // 1000}.{v % 1000 // 10}" for v in (version, LEAST_VERSION))
        raise DeviceError(
            f"the NVIDIA driver is too old: it is for CUDA {found}, nbcnn needs {least}; install 580 or newer"
        )
    (code,) = api.cuInit(0)
    if code and code != NO_DEVICE:
        raise driver.error("cuInit", code)
    count = 0 if code else driver.bare("cuDeviceGetCount")
    if not count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "see what nvidia-smi lists" if visible is None else f"CUDA_VISIBLE_DEVICES is {visible!r}"
        raise DeviceError(f"there is no NVIDIA GPU: {hint}")
    return api, count


def load() -> Any:
    """The module; raises ImportError where it is not installed."""
    return import_module("cuda.bindings.driver")


class Driver:
    """Calls by name to ``api``, the module ``cuda.bindings.driver`` or one that behaves like it.

    ``context`` is current during ``with driver:`` (the outermost of a thread's) and no longer, so that a
    thread's own choice of device stays as it is. ``running()`` tells what the device may be busy with. After
    an error from which a process cannot recover, ``failure`` says so, and every later call raises it.
    """

    def __init__(self, api: Any, label: str) -> None:
        self.api, self.label = api, label
        self.context: Any = None
        self.failure = ""
        self.running: Callable[[], str] = str
        self._inside = threading.local()

    def __enter__(self) -> None:
        if self.failure:
            raise DeviceError(self.failure)
        depth = getattr(self._inside, "depth", 0)
        if not depth:
            (code,) = self.api.cuCtxPushCurrent(self.context)
            if code:
                raise self.error("cuCtxPushCurrent", code)
        self._inside.depth = depth + 1

    def __exit__(self, *error: object) -> None:
        self._inside.depth -= 1
        if not self._inside.depth:
            self.api.cuCtxPopCurrent()

    def call(self, name: str, *args: Any) -> Any:
        """What the function gives in the context: nothing, a value, or several; raises DeviceError."""
        with self:
            return self.check(name, getattr(self.api, name)(*args))

    def bare(self, name: str, *args: Any) -> Any:
        """As `call`, for functions that need no context, or within it already."""
        return self.check(name, getattr(self.api, name)(*args))

    def check(self, name: str, result: tuple) -> Any:
        """What a function gave, without the code; raises DeviceError for a code that is not 0."""
        if result[0]:
            raise self.error(name, result[0])
        return result[1] if len(result) == 2 else result[1:]

    def release(self, name: str, *args: Any) -> None:
        """Call a function that frees something, if there is still something to free.

        May run at any time, also while the process ends. An error of earlier work is left for the next call
        to report.
        """
        if self.failure or self.api.cuCtxPushCurrent(self.context)[0]:
            return
        try:
            result = getattr(self.api, name)(*args)
        finally:
            self.api.cuCtxPopCurrent()
        if result[0] in STICKY:
            self.failure = str(self.error(name, result[0]))
        elif result[0] != DEINITIALIZED:
            self.check(name, result)

    def error(self, name: str, code: Any) -> DeviceError:
        """What went wrong, in words; after an error that is final, nothing more will be called."""
        message = f"{self.label}: {explain(self.api, name, code)}"
        if code not in STICKY:
            return DeviceError(message)
        running = self.running()
        self.failure = (
            f"{self.label} failed in this process before ({label(self.api, code)}), and takes no more work "
            "from it: start the process again"
        )
        busy = f"; it was running {running}" if running else ""
        return DeviceError(f"{message}{busy}; nothing more can run in this process: start it again")
