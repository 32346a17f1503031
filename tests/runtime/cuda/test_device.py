"""What a device asks of the driver, call by call and byte by byte, on doubles of the driver."""

from __future__ import annotations

import ctypes
import struct
import threading
from typing import Any

import numpy as np
import pytest
from gpu_doubles import COPY, Double, Kernel

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.device import Device
from nbcnn.runtime.cuda.launcher import Launch, Span
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.cuda.pool import LARGEST
from nbcnn.runtime.cuda.staging import SLOT_BYTES, SLOTS

ADD = Kernel("add", "x:f32[] n:i32 factor:f32 y:f16[]", threads=256)
CONV = Kernel("conv", "x:map w:map bias:u64 k:u32", threads=384, smem=200 << 10, static=1024)
NO_TOKENS = "grid=1,1,1 block=128,1,1 shared=0"


def words(layout: str, *values: Any) -> str:
    """The words of parameters as the log shows them: ``words("Qf", 1, 0.5)``."""
    return ",".join(struct.pack(f"<{c}", v).hex() for c, v in zip(layout, values, strict=True))


def array(address: int, count: int, size: int) -> tuple[int, ...]:
    return 0, 0, count, size, address, count, size


def copy(target: int, source: int, nbytes: int) -> Launch:
    return Launch(COPY, (1, 1, 1), (target, source, nbytes))


def upload(device: Device, values: np.ndarray) -> int:
    address = device.allocate(values.nbytes)
    device.upload(address, values, 0)
    return address


def download(device: Device, address: int, like: np.ndarray) -> np.ndarray:
    found = np.empty_like(like)
    device.download(found, address, 0)
    device.synchronize(0)
    return found


def test_facts(device: Device) -> None:
    assert device.name == "Stub H200 (GPU 0)"
    assert (device.capability, device.multiprocessors) == ((9, 0), 132)
    assert (device.memory, device.shared_memory) == (1 << 30, 227 << 10)


@pytest.mark.parametrize("n", [0, 1, SLOT_BYTES, SLOT_BYTES + 1, (2 * SLOTS + 1) * SLOT_BYTES + 5])
def test_an_uploaded_array_may_change_at_once(device: Device, rng: np.random.Generator, n: int) -> None:
    values = rng.integers(0, 256, n).astype(np.uint8)
    address = device.allocate(n)
    assert address % 256 == 0
    stream, given = device.stream(), values.copy()
    device.upload(address, given, stream)
    given[:] = 0
    np.testing.assert_array_equal(download(device, address, values), values)
    device.end_stream(stream)
    device.free(address)


def test_page_locked_arrays_may_change_at_once(device: Device, rng: np.random.Generator) -> None:
    """The driver itself would read them later."""
    values = rng.integers(0, 256, 1000).astype(np.uint8)
    place = device._driver.call("cuMemHostAlloc", values.nbytes, 0)
    given = np.ctypeslib.as_array((ctypes.c_uint8 * values.size).from_address(place))
    given[:] = values
    address = upload(device, given)
    given[:] = 0
    np.testing.assert_array_equal(download(device, address, values), values)
    device._driver.release("cuMemFreeHost", place)


def test_uploads_wait_only_for_their_own_slot(gpu: Double, device: Device) -> None:
    address = device.allocate(SLOT_BYTES)
    stream = device.stream()
    gpu.log()
    for _ in range(SLOTS + 1):
        device.upload(address, np.arange(3, dtype=np.float32), stream)
    made = [
        line
        for i in range(1, SLOTS + 1)
        for line in (
            f"cuMemHostAlloc {SLOT_BYTES} flags=1",
            f"cuEventCreate flags=2 event{i}",
            f"cuMemcpyHtoDAsync {address:#x} 12 stream1",
            f"cuEventRecord event{i} stream1",
        )
    ]
    assert gpu.log() == [
        *made,
        "cuEventSynchronize event1",
        f"cuMemcpyHtoDAsync {address:#x} 12 stream1",
        "cuEventRecord event1 stream1",
    ]
    device.end_stream(stream)
    ended = gpu.log()
    assert ended[0] == "cuStreamSynchronize stream1" and ended[-1] == "cuStreamDestroy stream1"
    assert ended.count("cuMemFreeHost") == SLOTS
    with pytest.raises(DeviceError, match="there is no stream"):
        device.end_stream(stream)


def test_parts_and_shapes(device: Device, rng: np.random.Generator) -> None:
    values = rng.standard_normal((3, 5)).astype(np.float32)
    address = upload(device, values)
    np.testing.assert_array_equal(download(device, address, values), values)
    np.testing.assert_array_equal(download(device, address + 20, values[1]), values[1])
    with pytest.raises(DeviceError, match="not contiguous"):
        device.upload(address, values.T, 0)
    with pytest.raises(DeviceError, match="not contiguous"):
        device.download(values[:, ::2], address, 0)


def test_too_much_memory(gpu: Double, device: Device) -> None:
    gpu.show(memory=10 << 20)
    kept = device.allocate(4 << 20)
    with pytest.raises(DeviceError) as caught:
        device.allocate(1 << 40)
    assert str(caught.value) == (
        "Stub H200 (GPU 0): 1024.0 GiB of memory are asked for, 6.0 MiB of 10.0 MiB are free; "
        "use a smaller batch, or end what else uses this GPU"
    )
    device.free(kept)
    device.free(device.allocate(10 << 20))


def test_memory_is_freed_after_the_work_on_it(gpu: Double, device: Device) -> None:
    address = device.allocate(LARGEST + 1)
    gpu.log()
    device.free(address)
    assert gpu.log() == ["cuCtxSynchronize", f"cuMemFree {address:#x}"]
    with pytest.raises(DeviceError, match="no memory of this device's at"):
        device.free(address)


def test_memory_is_used_again_after_the_work_on_it(gpu: Double, device: Device) -> None:
    address, other = device.allocate(1000), device.allocate(1000)
    device.free(address)
    with pytest.raises(DeviceError, match="no memory of this device's at"):
        device.free(address)
    gpu.log()
    assert device.allocate(800) == address  # both are 1024 bytes
    assert gpu.log() == ["cuCtxSynchronize"]
    assert device.allocate(1000) not in (address, other)
    (asked,) = gpu.log()
    assert asked.startswith("cuMemAlloc")


def test_idle_memory_is_given_back_where_there_is_too_little(gpu: Double, device: Device) -> None:
    gpu.show(memory=10 << 20)
    for address in [device.allocate(2 << 20) for _ in range(4)]:
        device.free(address)
    gpu.log()
    device.free(device.allocate(9 << 20))
    waited, *freed, again = gpu.log()
    assert waited == "cuCtxSynchronize" and again.startswith("cuMemAlloc") and len(freed) == 4
    assert all(line.startswith("cuMemFree ") for line in freed)


def test_calls_of_a_session_share_one_context(
    device: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[str] = []
    api = device._driver.api
    for name in ("cuCtxPushCurrent", "cuCtxPopCurrent"):
        plain = getattr(api, name)
        monkeypatch.setattr(api, name, lambda *a, n=name, f=plain: contexts.append(n) or f(*a))
    values = rng.standard_normal(5).astype(np.float32)
    with device.session():
        download(device, upload(device, values), values)
    assert contexts == ["cuCtxPushCurrent", "cuCtxPopCurrent"]


def test_a_graph_of_kernels_with_arrays_and_numbers(gpu: Double, device: Device) -> None:
    graph = device.graph(
        [
            Launch(ADD, (7, 1, 1), (Span(4096, 40), -3, 0.5, Span(8192, 21))),
            copy(1, 2, 3),
            Launch(ADD, (2, 3, 4), (Span(64, 4), 1, 2.0, Span(66, 2))),
        ]
    )
    array_words = "QQqqQqq"
    params = f"{array_words}if{array_words}"
    first = words(params, *array(4096, 10, 4), -3, 0.5, *array(8192, 10, 2))
    third = words(params, *array(64, 1, 4), 1, 2.0, *array(66, 1, 2))
    add = "block=256,1,1 shared=0 params="
    assert gpu.log() == [
        "cuGraphCreate graph1",
        "cuModuleLoadData module1",
        "cuModuleGetFunction module1 add",
        f"cuGraphAddKernelNode graph1 node1 after= add grid=7,1,1 {add}{first}",
        "cuModuleLoadData module2",
        "cuModuleGetFunction module2 copy",
        f"cuGraphAddKernelNode graph1 node2 after=node1 copy {NO_TOKENS} params={words('QQI', 1, 2, 3)}",
        f"cuGraphAddKernelNode graph1 node3 after=node2 add grid=2,3,4 {add}{third}",
        "cuGraphInstantiate graph1 exec1",
    ]
    device.end_graph(graph)
    assert gpu.log() == ["cuGraphExecDestroy exec1", "cuGraphDestroy graph1"]
    device.end_graph(graph)
    assert gpu.log() == []


def test_tensor_maps(gpu: Double, device: Device) -> None:
    window = Im2col(
        *(1 << 20, "f16", 2, (72, 14, 12, 3), (144, 2016, 24192)),
        *((-1, -2), (-3, 0), (2, 1), 64, 128),
    )
    weights = Tiled(1 << 16, "f32", 4, (32, 9, 64, 2), (128, 1152, 73728), (32, 1, 64, 2))
    device.graph([Launch(CONV, (132, 1, 1), (window, weights, 1 << 14, 5))])
    encoded = bytes(range(128)).hex()
    log = gpu.log()
    assert log[1:3] == [
        "cuTensorMapEncodeIm2col aligned=1 type=6 address=0x100000 extents=72,14,12,3 "
        "pitches=144,2016,24192 lower=-1,-2 upper=-3,0 channels=64 pixels=128 steps=1,2,1,1 "
        "interleave=0 swizzle=3 l2=3 fill=0",
        "cuTensorMapEncodeTiled aligned=1 type=7 address=0x10000 extents=32,9,64,2 "
        "pitches=128,1152,73728 box=32,1,64,2 steps=1,1,1,1 interleave=0 swizzle=3 l2=3 fill=0",
    ]
    assert log[5:7] == [
        "cuFuncSetAttribute module1 8=204800",
        "cuGraphAddKernelNode graph1 node1 after= conv grid=132,1,1 block=384,1,1 shared=204800 "
        f"params={encoded},{encoded},{words('QI', 1 << 14, 5)}",
    ]


def test_a_change_is_for_later_runs(gpu: Double, device: Device) -> None:
    values = [np.full(5, i, np.int32) for i in range(4)]
    a, b, c, d = (upload(device, v) for v in values)
    graph, stream = device.graph([copy(c, a, 20), copy(d, c, 20)]), device.stream()
    gpu.log()
    device.start(graph, stream)
    device.change(graph, 0, copy(c, b, 20))
    assert gpu.log() == [
        "cuGraphLaunch exec1 stream1",
        f"cuGraphExecKernelNodeSetParams exec1 node1 copy {NO_TOKENS} params={words('QQI', c, b, 20)}",
    ]
    np.testing.assert_array_equal(download(device, d, values[0]), values[0])
    device.start(graph, stream)
    np.testing.assert_array_equal(download(device, d, values[0]), values[1])
    assert graph.launches[0] == copy(c, b, 20)


def test_a_change_that_is_refused_leaves_the_graph_alone(gpu: Double, device: Device) -> None:
    graph = device.graph([copy(1, 2, 3)])
    gpu.log()
    for launch in (Launch(COPY, (2, 1, 1), (1, 2, 3)), Launch(Kernel("other", "n:u32"), (1, 1, 1), (1,))):
        with pytest.raises(DeviceError, match="kernel and grid of copy cannot be changed"):
            device.change(graph, 0, launch)
    with pytest.raises(DeviceError, match="nbytes = -1 does not fit u32"):
        device.change(graph, 0, copy(1, 2, -1))
    assert gpu.log() == [] and graph.launches == [copy(1, 2, 3)]


@pytest.mark.parametrize("grid", [(0, 1, 1), (1 << 31, 1, 1), (1, 1 << 16, 1), (1, 1, 0)])
def test_grids_have_limits(gpu: Double, device: Device, grid: tuple[int, int, int]) -> None:
    with pytest.raises(DeviceError, match="copy: a grid of"):
        device.graph([Launch(COPY, grid, (1, 2, 3))])
    assert gpu.log() == ["cuGraphCreate graph1", "cuGraphDestroy graph1"]


def test_kernels_are_loaded_once(gpu: Double, device: Device) -> None:
    device.prepare(ADD)
    assert gpu.log() == ["cuModuleLoadData module1", "cuModuleGetFunction module1 add"]
    loading = [threading.Thread(target=device.prepare, args=(COPY,)) for _ in range(8)]
    for thread in loading:
        thread.start()
    for thread in loading:
        thread.join()
    device.graph([copy(1, 2, 3)])
    assert sum("cuModuleLoadData" in line for line in gpu.log()) == 1


@pytest.mark.parametrize(
    "smem, static, log",
    [
        (48 << 10, 0, []),
        (47 << 10, 1025, ["cuFuncSetAttribute module1 8=48128"]),
        (227 << 10, 0, ["cuFuncSetAttribute module1 8=232448"]),
    ],
)
def test_shared_memory_is_asked_for(gpu: Double, device: Device, smem: int, static: int, log: list) -> None:
    device.prepare(Kernel("k", "n:u32", smem=smem, static=static))
    assert gpu.log()[2:] == log


def test_too_much_shared_memory(device: Device) -> None:
    kernel = Kernel("k", "n:u32", smem=227 << 10, static=16)
    with pytest.raises(DeviceError, match=r"k needs 227.0 KiB .* a block, Stub H200 \(GPU 0\) has 227.0 KiB"):
        device.prepare(kernel)


def test_streams_wait_for_each_other(gpu: Double, device: Device) -> None:
    stream = device.stream()
    device.wait(stream, 0)
    assert gpu.log() == [
        "cuStreamCreate flags=1 stream1",
        "cuEventCreate flags=2 event1",
        "cuEventRecord event1 default0",
        "cuStreamWaitEvent stream1 event1",
        "cuEventDestroy event1",
    ]


def test_seconds_by_events(gpu: Double, device: Device) -> None:
    a, b = (upload(device, np.zeros(4, np.int32)) for _ in range(2))
    graph = device.graph([copy(b, a, 16), copy(a, b, 16)])
    gpu.log()
    assert device.seconds(graph, 0, 3) == 2e-3  # the doubles say a millisecond for each copy
    runs = [("cuGraphLaunch exec1 default0", f"cuEventRecord event{i} default0") for i in range(1, 5)]
    assert gpu.log() == [
        *(f"cuEventCreate flags=0 event{i}" for i in range(1, 5)),
        *(line for run in runs for line in run),
        "cuStreamSynchronize default0",
        *(f"cuEventDestroy event{i}" for i in range(1, 5)),
    ]


def test_the_context_is_current_only_during_a_call(gpu: Double, device: Device) -> None:
    """In any thread, also after an error."""
    depths: list[int] = []

    def work() -> None:
        values = np.arange(1000, dtype=np.float32)
        stream = device.stream()
        for _ in range(20):
            a, b = device.allocate(values.nbytes), device.allocate(values.nbytes)
            device.upload(a, values, stream)
            graph = device.graph([copy(b, a, values.nbytes)])
            device.start(graph, stream)
            found = np.empty_like(values)
            device.download(found, b, stream)
            device.synchronize(stream)
            np.testing.assert_array_equal(found, values)
            device.end_graph(graph)
            device.free(a)
            device.free(b)
        with pytest.raises(DeviceError):
            device.allocate(1 << 50)
        device.end_stream(stream)
        depths.append(gpu.depth)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert depths == [0] * 4
