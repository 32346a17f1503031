"""Where there is no device to open, and what becomes of one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gpu_doubles import COPY, STUBBED, Double, Kernel

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda import device as devices
from nbcnn.runtime.cuda import driver, results
from nbcnn.runtime.cuda.device import Device, open_device
from nbcnn.runtime.cuda.encode import Encoder
from nbcnn.runtime.cuda.launcher import Launch
from nbcnn.runtime.cuda.maps import Im2col, Tiled

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ILLEGAL_ADDRESS, INVALID_VALUE, DEINITIALIZED = 700, 1, 4


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(DeviceError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


# Opening


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_devices", {})
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings.driver", raising=False)
    assert "pip install nbcnn[cuda]" in refused(open_device)


def test_there_is_no_driver(gpu: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoLibrary:
        def cuDriverGetVersion(self) -> tuple:
            raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(driver, "load", NoLibrary)
    message = refused(open_device)
    assert message.startswith("no NVIDIA driver (Failed to dlopen libcuda.so.1): install one, 580 or newer")


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"version": 12080},
            "driver is too old: it is for CUDA 12.8, nbcnn needs 13.0; install 580 or newer",
        ),
        ({"devices": 0}, "there is no NVIDIA GPU: see what nvidia-smi lists"),
        ({"major": 7, "minor": 0}, "Stub H200 (GPU 0) has compute capability 7.0: nbcnn needs 7.5 or more"),
    ],
)
def test_what_is_too_old_or_missing(
    gpu: Double, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], message: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu.show(**settings)
    assert message in refused(open_device)
    gpu.show(devices=1, version=13010, major=7, minor=5)
    assert open_device().capability == (7, 5)  # a failure is not for good


def test_hidden_gpus(gpu: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpu.show(devices=0)
    assert "CUDA_VISIBLE_DEVICES is ''" in refused(open_device)


@pytest.mark.parametrize("index", [2, -1])
def test_another_index(gpu: Double, index: int) -> None:
    gpu.show(devices=2)
    assert f"there is no GPU {index}: this process sees 2" in refused(lambda: open_device(index))
    assert open_device(1).name == "Stub H200 (GPU 1)"
    assert "cuDevicePrimaryCtxRetain 1" in gpu.log()


def test_initialisation_fails(gpu: Double) -> None:
    gpu.fail("cuInit", 999)
    assert "in cuInit)" in refused(open_device)


def test_one_device_for_all_threads(gpu: Double) -> None:
    found: list[Device] = []
    threads = [threading.Thread(target=lambda: found.append(open_device())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert gpu.log() == ["cuInit", "cuDevicePrimaryCtxRetain 0"]


@pytest.mark.skipif(STUBBED, reason="the doubles in Python are enough")
def test_numba_is_not_imported() -> None:
    """Neither by opening a device nor by running a kernel that is kept."""
    code = """
import sys
from gpu_doubles import COPY, Double
from nbcnn.runtime.cuda import cubin, driver
from nbcnn.runtime.cuda.launcher import Launch, open_device
driver.load, cubin.load = Double().load, lambda config, capability: config.cubin()
device = open_device()
a, b = device.allocate(4), device.allocate(4)
graph = device.graph([Launch(COPY, (1, 1, 1), (a, b, 4))])
device.start(graph, 0)
device.synchronize(0)
print({"numba", "llvmlite"} & set(sys.modules))
"""
    path = os.pathsep.join([str(ROOT), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


# Forks


def in_a_child(check: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_cannot_use_the_device(gpu: Double, device: Device) -> None:
    address, stream = device.allocate(4), device.stream()
    graph = device.graph([Launch(COPY, (1, 1, 1), (address, address, 4))])
    gpu.log()

    def child() -> bool:
        for call in (
            open_device,
            lambda: open_device(1),
            lambda: device.allocate(4),
            lambda: device.start(graph, stream),
            lambda: device.synchronize(stream),
            lambda: device.upload(address, np.zeros(1, np.int32), stream),
            lambda: device.prepare(Kernel("another", "n:u32")),
        ):
            message = refused(call)
            assert "CUDA does not survive a fork" in message and "'spawn'" in message
        device.end_graph(graph)  # as finalizers would: nothing happens
        device.end_stream(stream)
        device.free(address)
        return gpu.log() == []

    with device._streams[stream].staging._lock:  # as if another thread were uploading
        assert in_a_child(child)
    device.start(graph, stream)
    device.synchronize(stream)
    assert open_device() is device


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_someone_else_used_cuda(gpu: Double) -> None:
    assert not gpu.load().cuInit(0)[0]
    assert in_a_child(lambda: "CUDA was in use before this process was forked" in refused(open_device))
    open_device()


# Failures


def test_a_failed_kernel_ends_the_device(gpu: Double, device: Device) -> None:
    other = Kernel("other", "n:u32")
    graph = device.graph([Launch(COPY, (1, 1, 1), (1, 2, 0)), Launch(other, (1, 1, 1), (1,))])
    bystander = device.graph([Launch(other, (1, 1, 1), (1,))])
    stream, address = device.stream(), device.allocate(4)
    device.start(bystander, stream)
    device.synchronize(stream)
    device.start(graph, stream)
    gpu.fail("*", ILLEGAL_ADDRESS, -1)
    assert refused(lambda: device.synchronize(stream)) == (
        "Stub H200 (GPU 0): a kernel read or wrote memory that is not its own (CUDA_ERROR_ILLEGAL_ADDRESS "
        "in cuStreamSynchronize); this is a bug in nbcnn; compute-sanitizer tells where it happens; it was "
        "running a graph of copy, other; nothing more can run in this process: start it again"
    )
    gpu.log()
    for call in (lambda: device.allocate(4), lambda: device.start(graph, stream), device.stream):
        assert refused(call) == (
            "Stub H200 (GPU 0) failed in this process before (CUDA_ERROR_ILLEGAL_ADDRESS), and takes no more "
            "work from it: start the process again"
        )
    device.end_graph(graph)
    device.end_stream(stream)
    device.free(address)
    assert gpu.log() == []


def test_a_failure_found_while_freeing_is_told_by_the_next_call(gpu: Double, device: Device) -> None:
    address, graph = device.allocate(4), device.graph([Launch(COPY, (1, 1, 1), (1, 2, 0))])
    device.start(graph, 0)  # a stream that is not the device's own
    gpu.fail("*", ILLEGAL_ADDRESS, -1)
    device.free(address)
    message = refused(lambda: device.synchronize(0))
    assert "memory that is not its own" in message and "it was running a graph of copy" in message


def test_freeing_as_the_process_ends(gpu: Double, device: Device) -> None:
    address, stream = device.allocate(4), device.stream()
    graph = device.graph([Launch(COPY, (1, 1, 1), (1, 2, 0))])
    gpu.fail("*", DEINITIALIZED, -1)
    device.free(address)
    device.end_stream(stream)
    device.end_graph(graph)


@pytest.mark.parametrize("name", ["cuModuleLoadData", "cuGraphAddKernelNode", "cuGraphInstantiate"])
def test_a_graph_that_cannot_be_made_leaves_nothing(gpu: Double, device: Device, name: str) -> None:
    gpu.fail(name, 2)
    message = refused(lambda: device.graph([Launch(COPY, (1, 1, 1), (1, 2, 3))]))
    assert f"out of memory (CUDA_ERROR_OUT_OF_MEMORY in {name}); use a smaller batch" in message
    assert message.startswith("copy: ") == (name != "cuGraphInstantiate")
    assert gpu.log()[-1] == "cuGraphDestroy graph1"
    device.graph([Launch(COPY, (1, 1, 1), (1, 2, 3))])


@pytest.mark.parametrize("name", ["cuCtxPushCurrent", "cuStreamCreate"])
def test_errors_in_the_words_of_the_driver(gpu: Double, device: Device, name: str) -> None:
    gpu.fail(name, 999)
    message = refused(device.stream)
    assert "an error of the stub (CUDA_ERROR_" in message and message.endswith(f" in {name})")
    device.end_stream(device.stream())


@pytest.mark.parametrize(
    "nbytes, text", [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (150113091584, "139.8 GiB")]
)
def test_amounts(nbytes: int, text: str) -> None:
    assert results.amount(nbytes) == text


# Tensor maps

TILED = {
    **{"address": 64, "kind": "bf16", "size": 2, "extents": (64, 9), "pitches": (128,)},
    "box": (64, 8),
}
IM2COL = {
    **{"address": 64, "kind": "s8", "size": 1, "extents": (64, 8, 8, 2), "pitches": (64, 512, 4096)},
    **{"lower": (-1, -1), "upper": (-1, -1), "strides": (1, 1), "channels": 64, "pixels": 128},
}


@pytest.mark.parametrize(
    "sort, change, message",
    [
        (Tiled, {"kind": "f16", "size": 4}, "no elements of f16 in 4 bytes"),
        (Tiled, {"kind": "f64"}, "no elements of f64 in 2 bytes"),
        (Tiled, {"address": 72}, "its address 0x48 is not a multiple of 16"),
        (Tiled, {"extents": (64, 0)}, "extents (64, 0) are not from 1 to 2^32"),
        (Tiled, {"extents": (64, 9, 3)}, "1 pitches for 3 extents"),
        (Tiled, {"pitches": (136,)}, "pitches (136,) are not multiples of 16"),
        (Tiled, {"pitches": (1 << 40,)}, "pitches (1099511627776,) are not multiples of 16 below 2^40"),
        (Tiled, {"box": (128, 8)}, "rows of 256 bytes are not multiples of 16 to 128"),
        (Tiled, {"box": (4, 8)}, "rows of 8 bytes are not multiples of 16 to 128"),
        (Tiled, {"box": (64, 257)}, "sides of a box, (64, 257), are not from 1 to 256"),
        (Tiled, {"box": (64,)}, "1 sides of a box for 2 extents"),
        (Im2col, {"lower": (-129, 0)}, "corners (-129, 0, -1, -1) are not from -128 to 127"),
        (Im2col, {"strides": (9, 1)}, "strides (9, 1) are not from 1 to 8"),
        (Im2col, {"pixels": 1025}, "64 channels of 1025 pixels: 256 and 1024 are the most"),
        (Im2col, {"channels": 8}, "rows of 8 bytes are not multiples of 16 to 128"),
    ],
)
def test_maps_that_the_unit_cannot_do(device: Device, sort: type, change: dict, message: str) -> None:
    encode = Encoder(device._driver.api)
    fields = TILED if sort is Tiled else IM2COL
    assert encode(sort(**fields)) == bytes(range(128))
    found = refused(lambda: encode(sort(**fields | change)))
    assert found.startswith(f"is a tensor map that there cannot be: {message}")


def test_a_map_that_the_driver_refuses(gpu: Double, device: Device) -> None:
    gpu.fail("cuTensorMapEncodeTiled", INVALID_VALUE)
    kernel = Kernel("k", "weights:map")
    message = refused(lambda: device.graph([Launch(kernel, (1, 1, 1), (Tiled(**TILED),))]))  # type: ignore[arg-type]
    assert message.startswith("k: weights is Tiled(address=64")
    assert "in cuTensorMapEncodeTiled)" in message
