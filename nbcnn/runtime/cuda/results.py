"""What the driver's error codes mean, in plain words, and what to do about them."""

from __future__ import annotations

from typing import Any

SUCCESS, OUT_OF_MEMORY, NOT_INITIALIZED, DEINITIALIZED, NO_DEVICE = 0, 2, 3, 4, 100

_BUG = "this is a bug in nbcnn; compute-sanitizer tells where it happens"
_UPDATE = "install a newer driver"

_MEANINGS: dict[int, tuple[str, str]] = {  # code: meaning, remedy
    1: ("an argument that the driver does not take", "this is a bug in nbcnn"),
    OUT_OF_MEMORY: ("out of memory", "use a smaller batch, or end what else uses this GPU"),
    NOT_INITIALIZED: (
        "CUDA was in use before this process was forked, and does not survive a fork",
        "use the GPU only in the child, or start processes with multiprocessing's 'spawn'",
    ),
    DEINITIALIZED: ("the driver is shutting down", "use the GPU before the process ends"),
    34: ("libcuda.so.1 is a stub to link with, not a driver", "take it off LD_LIBRARY_PATH"),
    36: ("the driver is too old", _UPDATE),
    46: ("the GPU is busy or reserved for another process", "end that process, or use another GPU"),
    NO_DEVICE: ("there is no GPU", "see what nvidia-smi lists"),
    101: ("there is no such GPU", "see what nvidia-smi lists"),
    200: ("the driver cannot read this machine code", _UPDATE),
    201: ("the CUDA context is gone", "do not reset the device while nbcnn uses it"),
    209: ("the machine code is for another GPU", "remove nbcnn's cache folder"),
    214: (
        "the GPU's memory has an uncorrectable error",
        "start the process again, and reset the GPU if need be",
    ),
    220: ("uncorrectable error of NVLink", "start the process again; reset the GPU if it stays"),
    226: ("a hardware error was contained", "start the process again"),
    300: ("the driver cannot read this machine code", _UPDATE),
    400: ("a stream, graph or event that does not exist", "it was ended, or belongs to another device"),
    700: ("a kernel read or wrote memory that is not its own", _BUG),
    701: ("a kernel needs more registers or threads than the GPU has", "this is a bug in nbcnn"),
    702: ("a kernel ran into the time limit", "the GPU also drives a display: use another one"),
    709: ("the CUDA context is gone", "do not reset the device while nbcnn uses it"),
    710: ("an assertion failed in a kernel", _BUG),
    714: ("a kernel's call stack is broken", _BUG),
    715: ("a kernel met an instruction that is none", _BUG),
    716: ("a kernel read or wrote at a misaligned address", _BUG),
    717: ("a kernel used an address of the wrong memory", _BUG),
    718: ("a kernel ran out of its code", _BUG),
    719: ("a kernel failed", _BUG),
    721: ("a kernel left tensor memory behind", _BUG),
    801: ("this GPU or driver cannot do that", _UPDATE),
    802: ("the machine's GPUs are not ready", "wait, or start nvidia-fabricmanager"),
    803: ("libcuda.so.1 and the kernel's driver have different versions", "reboot after a driver update"),
    804: ("the compatibility package does not support this GPU", _UPDATE),
    900: ("the thread is capturing a stream for a graph of its own", "call nbcnn outside of the capture"),
    901: ("a call was made while a stream was captured", "call nbcnn outside of the capture"),
    906: ("a call was made while a stream was captured", "call nbcnn outside of the capture"),
}

STICKY = frozenset((214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 807, 911))
"""After these no work is taken any more from the process: it must be started again."""


def explain(driver: Any, name: str, code: Any) -> str:
    """``out of memory (CUDA_ERROR_OUT_OF_MEMORY in cuMemAlloc); use a smaller batch, ...``."""
    meaning, remedy = _MEANINGS.get(int(code), ("", ""))
    if not meaning:
        failed, text = driver.cuGetErrorString(code)
        meaning = text.decode() if not failed and text else "unknown error"
    return f"{meaning} ({label(driver, code)} in {name})" + (f"; {remedy}" if remedy else "")


def label(driver: Any, code: Any) -> str:
    """The driver's name of a code: ``CUDA_ERROR_OUT_OF_MEMORY``."""
    failed, text = driver.cuGetErrorName(code)
    return text.decode() if not failed and text else f"error {int(code)}"


def amount(nbytes: int) -> str:
    """``512 bytes``, ``1.5 MiB``, ``139.8 GiB``."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.1f} {unit}"
    return f"{nbytes} bytes"
