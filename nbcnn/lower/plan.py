"""From steps to a plan: memory placed, kernels loaded, arguments encoded."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nbcnn.ir.graph import Graph
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit
from nbcnn.kernels.layouts import Address, Buffer, View, round_up
from nbcnn.kernels.steps import AnyStep, Arg, DeviceStep, Float, PythonStep, Step, StripStep
from nbcnn.lower import memory, strip_steps
from nbcnn.lower.layout import lay_out, values_of
from nbcnn.lower.select import Choice
from nbcnn.runtime import codecache
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.runtime.cuda.maps import Im2col, Tiled
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

    steps: tuple[AnyStep, ...]
    values: dict[str, View]
    offsets: dict[Buffer, int]
    memory: Memory
    kept: frozenset[str]


Results = dict[str, tuple[tuple[int, ...], np.dtype]]
"""Shape and dtype of each output by its public name."""


def lower(graph: Graph, choices: list[Choice], emit: Emit) -> Plan:
    """The plan of ``graph`` with the kernels of ``choices`` at one batch size; its notes are a `Lowered`."""
    notes, results = arrange(graph, choices, emit)
    return encode(notes.steps, notes.offsets, emit, notes.memory.arena, results, notes)


def arrange(graph: Graph, choices: list[Choice], emit: Emit) -> tuple[Lowered, Results]:
    """The steps of ``choices`` at one batch size, and where what they touch lies."""
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
    return Lowered(tuple(steps), values, offsets, report, kept), results


def _peak_of(purpose: str, spans: memory.Lifetimes, steps: int) -> int:
    return memory.live_peak({b: span for b, span in spans.items() if b.purpose == purpose}, steps)


def kernel_specs(graph: Graph, choices: list[Choice], emit: Emit) -> list[KernelSpec]:
    """The compiled functions that a plan of this batch size calls, each once."""
    alone = replace(emit, options=replace(emit.options, strips=False))  # strips call the same functions
    found = [call.kernel for step in lay_out(graph, choices, alone).steps for call in _native(step)]
    if emit.options.strips:  # they may pay at another batch size
        found += strip_steps.specs(emit)
    return list(dict.fromkeys(found))


def _native(step: AnyStep) -> list[Step]:
    """The compiled functions' calls within a step."""
    return [*step.steps] if isinstance(step, StripStep) else [step] if isinstance(step, Step) else []


def _reach(step: AnyStep, offsets: dict[Buffer, int]) -> int:
    """The end of what a step reads past its input, in the arena; 0 for most steps."""
    reach = 0
    for call in _native(step):
        if call.overread:
            first = call.args[0]
            assert isinstance(first, Address)
            reach = max(reach, offsets[first.buffer] + first.buffer.nbytes + call.overread)
    return round_up(reach, memory.ALIGNMENT)


def _arena_buffers(step: AnyStep) -> list[Buffer]:
    if isinstance(step, PythonStep):
        buffers = [view.buffer for view, _ in (*step.inputs, *step.outputs)]
    elif isinstance(step, DeviceStep):
        operands = (arg.address if isinstance(arg, Tiled | Im2col) else arg for arg in step.args)
        buffers = [operand.buffer for operand in operands if isinstance(operand, Address)]
    else:
        buffers = [arg.buffer for call in _native(step) for arg in call.args if isinstance(arg, Address)]
    return [b for b in dict.fromkeys(buffers) if b.place == "arena"]


def encode(
    steps: Sequence[AnyStep],
    offsets: dict[Buffer, int],
    emit: Emit,
    arena: int,
    results: Results,
    notes: Lowered | None = None,
) -> Plan:
    """The plan of ``steps`` with its buffers at ``offsets`` of an arena of ``arena`` bytes."""
    table = _Table(offsets, emit)
    segments: list[tuple[int, int] | PythonCall] = []
    inner: list[Step] = []  # rows behind all others, for the steps within steps
    rows = sum(not isinstance(step, PythonStep) for step in steps)
    for step in steps:
        if isinstance(step, PythonStep):
            segments.append(_python_call(step, offsets))
            continue
        first = len(table.kernels)
        if isinstance(step, StripStep):
            table.add_strips(step, rows + len(inner))
            inner += step.steps
        else:
            assert isinstance(step, Step), "another target's step"
            table.add(step)
        if segments and not isinstance(last := segments[-1], PythonCall):
            segments[-1] = (last[0], first + 1)
        else:
            segments.append((first, first + 1))
    for step in inner:
        table.add(step)
    return Plan(
        np.array(table.kernels, np.int64),
        np.array(table.args, np.int64),
        np.array(table.starts, np.int64),
        np.array(table.relocations, np.int64),
        np.array(table.rows, np.int64),
        tuple(table.externals["input"]),
        tuple(table.externals["output"]),
        results,
        tuple(segments),
        arena,
        tuple(table.keep),
        notes,
    )


class _Table:
    """The rows of a step table and their arguments, as a `Plan` holds them."""

    def __init__(self, offsets: dict[Buffer, int], emit: Emit) -> None:
        self.kernels: list[int] = []
        self.args: list[int] = []
        self.starts: list[int] = []
        self.relocations: list[int] = []
        self.rows: list[int] = []
        self.externals: dict[str, list[External]] = {"input": [], "output": []}
        self.keep: list[object] = []
        self._offsets = offsets
        self._emit = emit

    def add(self, step: Step) -> None:
        """The row of a step."""
        self._begin(step.kernel)
        for arg in step.args:
            place = arg.buffer.place if isinstance(arg, Address) else ""
            if place == "arena":
                self.relocations.append(len(self.args))
            elif place in ("input", "output"):
                assert isinstance(arg, Address)
                self.externals[place].append(External(len(self.args), arg.buffer.name, arg.offset))
            self.args.append(_word(arg, self._offsets, self.keep))

    def add_strips(self, step: StripStep, row: int) -> None:
        """The row of ``step``, whose own have rows from ``row`` on: see ``runtime/strip_code.py``."""
        self._begin(step.kernel)
        start, parts = len(self.args), len(step.runs)
        self.args += [parts, *[0] * parts]
        for part, runs in enumerate(step.runs):
            self.args[start + 1 + part] = len(self.args) - start
            self.args.append(len(runs))
            for run in runs:
                self.rows.append(len(self.args))
                moves = self._moves(run.steps, step.strides) if self._emit.batch > 1 else []
                self.args += [row, len(run.steps), run.first, run.last, len(moves)]
                row += len(run.steps)
                for move in moves:
                    self.relocations.append(len(self.args) + 2)
                    self.args += move

    def _moves(self, steps: Sequence[Step], strides: Mapping[Buffer, int]) -> list[tuple[int, int, int, int]]:
        """The arguments that differ from image to image: step, slot, value for image 0, stride."""
        return [
            (index, slot, self._offsets[arg.buffer] + arg.offset, strides[arg.buffer])
            for index, step in enumerate(steps)
            for slot, arg in enumerate(step.args)
            if isinstance(arg, Address) and arg.buffer in strides
        ]

    def _begin(self, kernel: KernelSpec) -> None:
        self.starts.append(len(self.args))
        self.kernels.append(codecache.load(kernel, self._emit.target))


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
