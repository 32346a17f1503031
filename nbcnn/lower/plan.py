"""From steps to a plan: memory placed, kernels loaded, arguments encoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from nbcnn.ir.graph import Graph
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Address, Arg, Buffer, Emit, Float, PythonStep, Step, View, round_up
from nbcnn.lower import memory
from nbcnn.lower.layout import lay_out, values_of
from nbcnn.lower.select import Choice
from nbcnn.runtime import codecache
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.runtime.program import Context, External, Plan, PythonCall


@dataclass(frozen=True)
class Memory:
    """Bytes of one plan, by purpose.

    ``arena`` is what a context allocates; ``live_peak`` the most that is alive at once, below which
    no plan can go; ``conversions`` and ``scratch`` the most alive at once, within it, of values in a
    second layout and of what kernels work in; ``tables`` and ``weights`` are shared by all plans of
    the program.
    """

    arena: int
    live_peak: int
    conversions: int
    scratch: int
    tables: int
    weights: int


@dataclass(frozen=True, eq=False)
class Lowered:
    """What explains a plan: its steps, where values lie, the memory report, the values it keeps."""

    steps: tuple[Step | PythonStep, ...]
    values: dict[str, View]
    offsets: dict[Buffer, int]
    memory: Memory
    kept: frozenset[str]


def lower(graph: Graph, choices: list[Choice], emit: Emit) -> Plan:
    """The plan of ``graph`` with the kernels of ``choices`` at one batch size; its notes are a `Lowered`."""
    state = lay_out(graph, choices, emit)
    steps = state.steps
    touched = [_arena_buffers(step) for step in steps]
    values = dict(values_of(state))
    kept = frozenset(v for v in values if not graph.is_weight(v))
    if not emit.options.keep_values:
        kept &= {*emit.options.taps}
    spans = memory.lifetimes(touched, {values[v].buffer for v in kept})
    offsets = memory.place(spans)
    arena = max(memory.arena_bytes(offsets), *(_reach(step, offsets) for step in steps))
    report = Memory(
        arena=arena,
        live_peak=memory.live_peak(spans, len(steps)),
        conversions=_peak_of("conversion", spans, len(steps)),
        scratch=_peak_of("scratch", spans, len(steps)),
        tables=emit.store.nbytes("tables"),
        weights=emit.store.nbytes("weights"),
    )
    results = {
        name: (graph.type(value).extents(emit.batch), np.dtype(graph.type(value).dtype))
        for name, value in graph.outputs.items()
    }
    notes = Lowered(tuple(steps), values, offsets, report, kept)
    return encode(steps, offsets, emit, arena, results, notes)


def _peak_of(purpose: str, spans: memory.Lifetimes, steps: int) -> int:
    return memory.live_peak({b: span for b, span in spans.items() if b.purpose == purpose}, steps)


def kernel_specs(graph: Graph, choices: list[Choice], emit: Emit) -> list[KernelSpec]:
    """The compiled functions that a plan of this batch size calls, each once."""
    steps = lay_out(graph, choices, emit).steps
    return list(dict.fromkeys(s.kernel for s in steps if isinstance(s, Step)))


def _reach(step: Step | PythonStep, offsets: dict[Buffer, int]) -> int:
    """The end of what a step reads past its input, in the arena; 0 for most steps."""
    if isinstance(step, PythonStep) or not step.overread:
        return 0
    first = step.args[0]
    assert isinstance(first, Address)
    return round_up(offsets[first.buffer] + first.buffer.nbytes + step.overread, memory.ALIGNMENT)


def _arena_buffers(step: Step | PythonStep) -> list[Buffer]:
    if isinstance(step, PythonStep):
        buffers = [view.buffer for view, _ in (*step.inputs, *step.outputs)]
    else:
        buffers = [arg.buffer for arg in step.args if isinstance(arg, Address)]
    return [b for b in buffers if b.place == "arena"]


def encode(
    steps: list[Step | PythonStep],
    offsets: dict[Buffer, int],
    emit: Emit,
    arena: int,
    results: dict[str, tuple[tuple[int, ...], np.dtype]],
    notes: Lowered | None = None,
) -> Plan:
    """The plan of ``steps`` with its buffers at ``offsets`` of an arena of ``arena`` bytes."""
    kernels: list[int] = []
    args: list[int] = []
    starts: list[int] = []
    relocations: list[int] = []
    externals: dict[str, list[External]] = {"input": [], "output": []}
    segments: list[tuple[int, int] | PythonCall] = []
    keep: list[object] = []
    for step in steps:
        if isinstance(step, PythonStep):
            segments.append(_python_call(step, offsets))
            continue
        first = len(kernels)
        starts.append(len(args))
        kernels.append(codecache.load(step.kernel, emit.target))
        for arg in step.args:
            place = arg.buffer.place if isinstance(arg, Address) else ""
            if place == "arena":
                relocations.append(len(args))
            elif place in ("input", "output"):
                assert isinstance(arg, Address)
                externals[place].append(External(len(args), arg.buffer.name, arg.offset))
            args.append(_word(arg, offsets, keep))
        if segments and not isinstance(last := segments[-1], PythonCall):
            segments[-1] = (last[0], first + 1)
        else:
            segments.append((first, first + 1))
    return Plan(
        np.array(kernels, np.int64),
        np.array(args, np.int64),
        np.array(starts, np.int64),
        np.array(relocations, np.int64),
        tuple(externals["input"]),
        tuple(externals["output"]),
        results,
        tuple(segments),
        arena,
        tuple(keep),
        notes,
    )


def _word(arg: Arg, offsets: dict[Buffer, int], keep: list[object]) -> int:
    """The 64-bit word of an argument; arena addresses are offsets until a context exists."""
    if isinstance(arg, Float):
        return int.from_bytes(struct.pack("<f", arg.value), "little")
    if isinstance(arg, np.ndarray):
        keep.append(arg)
        return arg.ctypes.data
    if isinstance(arg, Address):
        if arg.buffer.place == "arena":
            return offsets[arg.buffer] + arg.offset
        if arg.buffer.array is not None:
            keep.append(arg.buffer.array)
            return arg.buffer.array.ctypes.data + arg.offset
        return 0
    return int(arg)


def _python_call(step: PythonStep, offsets: dict[Buffer, int]) -> PythonCall:
    def array(context: Context, view: View, type_: TensorType) -> np.ndarray:
        buffer, shape = view.buffer, type_.extents()
        if buffer.array is not None:
            return buffer.array
        if buffer.place == "arena":
            start = offsets[buffer] + 4 * view.offset
            return np.ndarray(shape, type_.dtype, context.arena, start)
        caller = context.inputs if buffer.place == "input" else context.outputs
        return caller[buffer.name].reshape(shape)

    def call(context: Context) -> None:
        inputs = [array(context, view, type_) for view, type_ in step.inputs]
        results = step.function(*inputs, *step.constants)
        for (view, type_), result in zip(step.outputs, results, strict=True):
            array(context, view, type_)[...] = result

    return PythonCall(call)
