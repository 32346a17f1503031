"""Runs the steps that records emit, on values that lie in buffers of the test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from launch_plain import device, target

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cuda import backend
from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.kernels.layouts import PLAIN, Address, Buffer, Layout, View
from nbcnn.kernels.steps import AnyStep, DeviceStep
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.launcher import Launch, Span
from nbcnn.target import CudaTarget

POISON = 0xFF
"""Byte of memory that was never written: NaN in every type of floats."""

STORED = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}


def emit(batch: int, kind: str = "f32") -> Emit[CudaTarget]:
    """What records are given on this device, for images of ``kind``."""
    return Emit(batch, target(kind), CompileOptions(), Store(), backend())


class Memory:
    """Buffers with their bytes."""

    def __init__(self, emit: Emit[CudaTarget]) -> None:
        self.emit = emit
        self.bytes: dict[Buffer, np.ndarray] = {}

    def view(self, layout: Layout, type_: TensorType, slot: tuple[int, int] | None = None) -> View:
        """Where a value may lie; with ``slot`` (pitch, first channel) in pixels of a wider buffer."""
        batch, here = self.emit.batch, self.emit.target
        size = self.emit.backend.nbytes(layout, here, batch, type_)
        each = type_.elements(batch) // batch
        view = self.emit.backend.view(Buffer("value", size), layout, here, each)
        if slot:
            assert layout.image
            pitch, first = slot
            stride = layout.image[1] * layout.image[2] * pitch
            size = batch * stride * here.size
            view = View(Buffer("value", size), layout, pitch, stride, first, here.size)
        self.bytes[view.buffer] = np.full(size, POISON, np.uint8)
        return view

    def _elements(self, view: View) -> np.ndarray:
        kind = "f32" if view.layout == PLAIN else self.emit.target.kind
        return self.bytes[view.buffer].view(STORED[kind])

    def _places(self, view: View, shape: tuple[int, ...]) -> np.ndarray:
        """The element of its buffer that each element of a value is."""
        count = int(np.prod(shape[1:]))
        images = view.offset + np.arange(shape[0])[:, None] * view.image_stride
        if view.layout == PLAIN:
            return (images + np.arange(count)).reshape(shape)
        c, h, w = view.layout.image  # type: ignore[misc]
        inner = np.arange(c)[:, None] + np.arange(h * w) * view.pitch
        return (images + inner.reshape(-1)).reshape(shape)

    def put(self, view: View, value: np.ndarray) -> np.ndarray:
        """Write a value; gives it back in float64 as it was rounded."""
        kind = "f32" if view.layout == PLAIN else self.emit.target.kind
        stored = to_kind(kind, value)
        self._elements(view)[self._places(view, value.shape)] = stored
        return from_kind(kind, stored)

    def get(self, view: View, shape: tuple[int, ...]) -> np.ndarray:
        """Read a value, in float64."""
        kind = "f32" if view.layout == PLAIN else self.emit.target.kind
        return from_kind(kind, self._elements(view)[self._places(view, shape)])

    def pads(self, view: View, width: int) -> np.ndarray:
        """What lies behind the channels of each pixel, up to ``width`` elements, in float64."""
        c, h, w = view.layout.image  # type: ignore[misc]
        images = view.offset + np.arange(self.emit.batch)[:, None, None] * view.image_stride
        places = images + np.arange(h * w)[:, None] * view.pitch + np.arange(c, width)
        return from_kind(self.emit.target.kind, self._elements(view)[places])

    def others(self, view: View, width: int) -> np.ndarray:
        """The bytes of the buffer that belong to no pixel of ``width`` channels of the view."""
        size = view.size
        used = np.zeros(len(self.bytes[view.buffer]) // size, bool)
        pixels = view.image_stride // view.pitch
        images = view.offset + np.arange(self.emit.batch)[:, None, None] * view.image_stride
        used[images + np.arange(pixels)[:, None] * view.pitch + np.arange(width)] = True
        return self.bytes[view.buffer].reshape(-1, size)[~used]

    def run(self, given_steps: Sequence[AnyStep]) -> None:
        """Run the steps; buffers that no view of this memory lies in must be constants or scratch."""
        here = device()
        steps = [step for step in given_steps if isinstance(step, DeviceStep)]
        assert len(steps) == len(given_steps)
        for step in steps:
            for arg in step.args:
                if not isinstance(arg, Address) or arg.buffer in self.bytes:
                    continue
                if arg.buffer.purpose == "scratch":
                    self.bytes[arg.buffer] = np.full(arg.buffer.nbytes, POISON, np.uint8)
                else:
                    assert arg.buffer.array is not None
                    self.bytes[arg.buffer] = np.ascontiguousarray(arg.buffer.array).reshape(-1).view(np.uint8)
        arrays = {id(a): a for step in steps for a in step.args if isinstance(a, np.ndarray)}
        places = {buffer: here.allocate(max(len(data), 1)) for buffer, data in self.bytes.items()}
        tables = {key: here.allocate(a.nbytes) for key, a in arrays.items()}
        stream = here.stream()

        def given(arg):
            if isinstance(arg, Address):
                assert 0 <= arg.offset < len(self.bytes[arg.buffer])
                return Span(places[arg.buffer] + arg.offset, len(self.bytes[arg.buffer]) - arg.offset)
            return Span(tables[id(arg)], arg.nbytes) if isinstance(arg, np.ndarray) else arg

        try:
            for buffer, data in self.bytes.items():
                here.upload(places[buffer], data, stream)
            for key, array in arrays.items():
                here.upload(tables[key], array, stream)
            graph = here.graph([Launch(s.kernel, s.grid, tuple(map(given, s.args))) for s in steps])
            here.start(graph, stream)
            for buffer, data in self.bytes.items():
                if buffer.place != "constant":
                    here.download(data, places[buffer], stream)
            here.synchronize(stream)
            here.end_graph(graph)
        finally:
            for address in (*places.values(), *tables.values()):
                here.free(address)
            here.end_stream(stream)
