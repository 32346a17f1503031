"""One site of a tensor-core record, run on an emulated GPU or a real one, and held to its bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cuda_emulator.launcher import Emulated
from launch_plain import device
from run_steps import Memory
from tensor_bounds import excess

from nbcnn.ir import Node, Op, TensorType, Weight
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cuda import backend
from nbcnn.kernels.cuda.packing import to_kind
from nbcnn.kernels.cuda.tiles import Pick, placed
from nbcnn.kernels.layouts import Address, Buffer, Layout, View, nhwc
from nbcnn.kernels.steps import DeviceStep, first_way
from nbcnn.lower.device_build import target_of
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.fused import Body, Fused
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.launcher import Launcher, Span, simulated

FINITE = 3.0
"""What pads pixels, and lies around slots."""


def gpu(capability: tuple[int, int]) -> Launcher:
    return Emulated(capability) if simulated() else device()


def site_of(op: Op, x: TensorType, rng: np.random.Generator, after: Sequence[Op | str] = ()) -> Site:
    """``op`` on one operand, then each of ``after``: an activation, or ``"add"`` of a residual."""
    weights = []
    for name, param in op.params(x).items():
        array = rng.standard_normal(param.type.extents()).astype(np.float32)
        weights.append((name, Weight.of(array / np.float32(np.sqrt(array[0].size)))))
    (out,) = op.infer(x)
    names = tuple(n for n, _ in weights)
    nodes, data, types = [Node("main", op, ("x", *names), ("y0",))], ("x",), (x,)
    for i, each in enumerate(after):
        value = nodes[-1].outputs[0]
        if isinstance(each, str):
            data, types = ("x", "r"), (x, out)
            nodes.append(Node("add", Add(), (value, "r"), (f"y{i + 1}",)))
        else:
            nodes.append(Node(f"act{i}", each, (value,), (f"y{i + 1}",)))
    whole = Fused(Body(data, names, tuple(nodes), nodes[-1].outputs)) if after else op
    macs = whole.macs([*types, *(w.type for _, w in weights)], [out])
    return Site("site", whole, data, tuple(weights), ("y",), types, (out,), macs)


def emitter(how: str, here: Launcher, batch: int, pick: Pick = first_way) -> Emit:
    """What records are given for precision ``how``."""
    return Emit(batch, target_of(here, how), CompileOptions(precision=how), Store(), backend(), pick)


def check(
    kernel: Kernel,
    site: Site,
    how: str,
    capability: tuple[int, int],
    rng: np.random.Generator,
    batch: int = 2,
    *,
    lies: Layout | None = None,
    slots: bool = False,
    gap: int = 0,
    pick: Pick = first_way,
) -> list[DeviceStep]:
    """Assert that the result lies within its bound, and that nothing else was written; the steps.

    The first operand lies as ``lies``; with ``slots`` all lie in wider buffers, one vector from their begin,
    and ``gap`` pixels lie between the images.
    """
    here = gpu(capability)
    emit = emitter(how, here, batch, pick)
    assert kernel.refuse(site, emit.target, emit.options) is None
    memory, lanes, kind = Memory(emit), emit.target.lanes, emit.target.kind

    def place(type_: TensorType, layout: Layout) -> View:
        view = memory.view(layout, type_)
        if not slots:
            return view
        c, h, w = layout.image or (0, 0, 0)
        pitch = -(-c // lanes) * lanes + 2 * lanes
        stride = (h * w + gap) * pitch
        size = batch * stride * emit.target.size
        view = View(Buffer("value", size), layout, pitch, stride, lanes, emit.target.size)
        memory.bytes[view.buffer] = np.full(size, 0xFF, np.uint8)
        return view

    views, arrays = [], []
    for slot, (type_, layout) in enumerate(zip(site.in_types, kernel.reads(site), strict=True)):
        view = place(type_, lies if slot == 0 and lies else layout)
        assert kernel.accepts(site, slot, view.layout)
        whole = memory.bytes[view.buffer]
        whole[:] = np.full(len(whole) // view.size, to_kind(kind, np.float32(FINITE))).view(np.uint8)
        arrays.append(memory.put(view, rng.standard_normal(type_.extents(batch)).astype(np.float32)))
        views.append(view)
    (type_,) = site.out_types
    out = place(type_, nhwc(type_))
    steps = list(kernel.steps(site, tuple(views), (out,), emit))
    _run(here, memory, steps)
    width = -(-out.layout.image[0] // lanes) * lanes  # type: ignore[index]
    assert np.isfinite(memory.pads(out, width)).all(), "padding is not finite"
    if slots:
        assert (_others(memory, out, width) == 0xFF).all(), "written outside"
    found = memory.get(out, type_.extents(batch)).astype(np.float32)
    weights = [w.array for _, w in site.weights]
    far = excess(site.op, arrays, weights, [found], how, kernel.name)
    assert far <= 1, f"{far} times the bound"
    return steps


def _others(memory: Memory, view: View, width: int) -> np.ndarray:
    """The bytes of the buffer that belong to no pixel of ``width`` channels of the view."""
    _, h, w = view.layout.image  # type: ignore[misc]
    used = np.zeros(len(memory.bytes[view.buffer]) // view.size, bool)
    images = view.offset + np.arange(memory.emit.batch)[:, None, None] * view.image_stride
    used[images + np.arange(h * w)[:, None] * view.pitch + np.arange(width)] = True
    return memory.bytes[view.buffer].reshape(-1, view.size)[~used]


def _run(here: Launcher, memory: Memory, steps: Sequence[DeviceStep]) -> None:
    """Run the steps on the buffers of ``memory``, arrays, and scratch of their own."""
    stream = here.stream()
    places: dict[int, int] = {}

    def address(operand: Address | np.ndarray) -> Span:
        array = isinstance(operand, np.ndarray)
        whole, offset = (operand, 0) if array else (operand.buffer, operand.offset)
        if id(whole) not in places:
            places[id(whole)] = here.allocate(whole.nbytes)
            data = operand if array else memory.bytes.get(operand.buffer)
            if data is not None:
                here.upload(places[id(whole)], np.ascontiguousarray(data), stream)
        return Span(places[id(whole)] + offset, whole.nbytes - offset)

    graph = here.graph([placed(step, address) for step in steps])
    here.start(graph, stream)
    for buffer, data in memory.bytes.items():
        if id(buffer) in places:
            here.download(data, places[id(buffer)], stream)
    here.synchronize(stream)
    here.end_graph(graph)
    for at in places.values():
        here.free(at)
    here.end_stream(stream)
