"""From steps to a plan for a GPU: weights uploaded, memory placed, launches with places for arguments."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np

from nbcnn.ir.graph import Graph
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit
from nbcnn.kernels.layouts import Address, Buffer, View
from nbcnn.kernels.steps import DeviceStep, PythonStep
from nbcnn.lower.plan import arrange
from nbcnn.lower.select import Choice
from nbcnn.runtime.cuda.launcher import Launcher, Span
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.cuda.program import Call, DevicePlan, HostCall, Place
from nbcnn.target import CudaTarget


class DeviceWeights:
    """Arrays of the host with their copies on a device: each is uploaded once, whatever plan asks for it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._stream = launcher.stream()
        self._found: dict[tuple[int, int], tuple[int, np.ndarray]] = {}
        weakref.finalize(self, _free, launcher, self._found, self._stream).atexit = False

    def span(self, array: np.ndarray) -> Span:
        """Where the copy of ``array`` lies."""
        key = array.ctypes.data, array.nbytes  # slices of an array are other objects each time
        if key not in self._found:
            address = self._launcher.allocate(max(array.nbytes, 1))
            self._found[key] = address, array
            self._launcher.upload(address, np.ascontiguousarray(array), self._stream)
        return Span(self._found[key][0], array.nbytes)

    def settle(self) -> None:
        """Wait until all copies are complete."""
        self._launcher.synchronize(self._stream)


def _free(launcher: Launcher, found: dict[tuple[int, int], tuple[int, np.ndarray]], stream: int) -> None:
    for address, _ in found.values():
        launcher.free(address)
    launcher.end_stream(stream)


def lower(graph: Graph, choices: list[Choice], emit: Emit[CudaTarget], weights: DeviceWeights) -> DevicePlan:
    """The plan of ``graph`` with the kernels of ``choices`` at one batch size; its notes are a `Lowered`."""
    notes, results = arrange(graph, choices, emit)
    segments: list[list[Call] | HostCall] = []
    for step in notes.steps:
        if isinstance(step, PythonStep):
            segments.append(_host_call(step, notes.offsets))
            continue
        assert isinstance(step, DeviceStep), "another target's step"
        if not segments or isinstance(segments[-1], HostCall):
            segments.append([])
        segments[-1].append(_call(step, notes.offsets, weights))  # type: ignore[union-attr]
    weights.settle()
    return DevicePlan(
        tuple(tuple(s) if isinstance(s, list) else s for s in segments),
        {name: type_.nbytes(emit.batch) for name, type_ in graph.inputs.items()},
        results,
        notes.memory.arena,
        notes,
    )


def place(buffer: Buffer, offset: int, offsets: dict[Buffer, int]) -> Place:
    """``offset`` bytes into a buffer that is no constant."""
    room = buffer.nbytes - offset
    if buffer.place == "arena":
        return Place("arena", "", offsets[buffer] + offset, room)
    return Place(buffer.place, buffer.name, offset, room)


def _call(step: DeviceStep, offsets: dict[Buffer, int], weights: DeviceWeights) -> Call:
    codes = [code for _, code in step.kernel.params]
    args = tuple(_settle(a, c, offsets, weights) for a, c in zip(step.args, codes, strict=True))
    return Call(step.kernel, step.grid, args)


def _settle(arg: Any, code: str, offsets: dict[Buffer, int], weights: DeviceWeights) -> Any:
    """An argument of a step as one of a call: constants at their addresses, the rest by their places."""
    if isinstance(arg, Tiled | Im2col):
        return replace(arg, address=_settle(arg.address, "u64", offsets, weights))
    if isinstance(arg, Address) and arg.buffer.array is None:
        return place(arg.buffer, arg.offset, offsets)
    if isinstance(arg, Address | np.ndarray):
        array, offset = (arg, 0) if isinstance(arg, np.ndarray) else (arg.buffer.array, arg.offset)
        assert array is not None
        span = weights.span(array)
        found = Span(span.address + offset, span.nbytes - offset)
        return found if code.endswith("[]") else found.address
    return arg


def _host_call(step: PythonStep, offsets: dict[Buffer, int]) -> HostCall:
    def operand(view: View, type_: TensorType) -> tuple[Place | np.ndarray, tuple[int, ...], str]:
        shape = type_.extents()
        if view.buffer.array is not None:
            return view.buffer.array.reshape(shape), shape, type_.dtype
        return place(view.buffer, view.offset * view.size, offsets), shape, type_.dtype

    def result(view: View, type_: TensorType) -> tuple[Place, tuple[int, ...], str]:
        return place(view.buffer, view.offset * view.size, offsets), type_.extents(), type_.dtype

    return HostCall(
        step.function,
        tuple(operand(*each) for each in step.inputs),
        step.constants,
        tuple(result(*each) for each in step.outputs),
    )
