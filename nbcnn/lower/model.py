"""The compiled model: call it, ask it what it does, time its steps, read its inner values."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nbcnn.errors import InputError, OptionError, nearest
from nbcnn.ir.graph import Graph
from nbcnn.ir.types import BATCH, TensorType
from nbcnn.kernels.layouts import View
from nbcnn.lower.plan import Lowered, Memory
from nbcnn.lower.rows import rows_of, shares
from nbcnn.lower.select import REFERENCE, Candidate, Choice
from nbcnn.lower.streams import Streams
from nbcnn.options import MOST_THREADS
from nbcnn.runtime import driver
from nbcnn.runtime.driver import Walk
from nbcnn.runtime.program import PLANS, ROW, Plan, PythonCall
from nbcnn.runtime.threads import default_threads
from nbcnn.target import CudaTarget, Target

CONVERSION = "layout"
"""What explain and profile call the kernel family of conversion steps."""


@dataclass(frozen=True)
class StepInfo:
    """One row of `Model.explain`: a step, its work at the plan's batch, and the kernels that lost.

    ``seconds`` is what the kernel was chosen for, ``measured`` or estimated; see `Candidate`. ``strips`` says
    with which other nodes the node is computed, so many rows at a time; they share the ``index`` of one step.
    """

    index: int
    node: str
    op: str
    kernel: str
    family: str
    output: str
    layout: str
    macs: int
    nbytes: int
    candidates: tuple[Candidate, ...]
    seconds: float | None = None
    measured: bool = False
    strips: str = ""


@dataclass(frozen=True)
class StepTime:
    """One row of `Model.profile`: seconds (median) and share of the whole.

    The seconds of a step that computes several nodes in strips are divided as their calls take when each runs
    by itself, on one thread.
    """

    node: str
    op: str
    kernel: str
    seconds: float
    share: float
    gflops: float
    gbytes: float


class Model:
    """A compiled network. Calls are safe from any thread; outputs belong to the caller."""

    def __init__(
        self,
        graph: Graph,
        choices: list[Choice],
        program: Any,
        batch: int,
        threads: int,
        target: Target | CudaTarget,
    ) -> None:
        """``program`` is what runs on ``target``; ``batch`` the size that is planned at once."""
        self.graph = graph
        self.threads = threads
        self.target = target
        self._choices = {c.site.name: c for c in choices}
        self._batch = batch
        self._wanted = wanted = graph.inputs
        self._batched = _batch_axis(wanted)
        self._shapes = lru_cache(PLANS)(lambda n: {name: t.extents(n) for name, t in wanted.items()})
        self._program = program
        self._program.plan(batch)

    def __call__(self, /, *args: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Run one inference.

        Inputs by position or name: NumPy arrays, or anything with ``__array__`` or DLPack, of the
        graph's dtype and shape (any batch size). Returns the output, or a dict by name when there
        are several. Raises InputError for what does not fit.
        """
        return self._call(args, named)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """`__call__` with inputs and outputs by name, however many there are."""
        return self._program.run(*self._inputs((), inputs))

    def streams(self, count: int | None = None) -> Streams:
        """``count`` inferences at a time (None: as many as there is room for), each on ``threads`` threads.

        For throughput compile with ``threads=1`` and take a stream for each core::

            with nbcnn.compile(graph, threads=1).streams() as streams:
                future = streams.submit(x)  # a concurrent.futures.Future
                for y in streams.map(images):  # in order, a few in flight
                    ...
        """
        if count is None:
            count = max(1, default_threads() // self.threads)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
            raise OptionError(f"streams must be a whole number from 1 to {MOST_THREADS}, got {count!r}")
        return Streams(self._call, self.threads, count)

    def _call(
        self, args: tuple[Any, ...], named: Mapping[str, Any], walk: Walk = driver.walk
    ) -> np.ndarray | dict[str, np.ndarray]:
        batch, inputs = self._inputs(args, named)
        outputs = self._program.run(batch, inputs, walk)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    @property
    def choices(self) -> list[Choice]:
        """The nodes as they were lowered, in order, each with its kernel: a fused node may be in parts."""
        return list(self._choices.values())

    # -- explaining ------------------------------------------------------------------------------

    def explain(self, batch: int | None = None) -> list[StepInfo]:
        """Every step in order: node, kernel, layout, work, and why other kernels were not taken."""
        notes = self._notes(batch)
        found = []
        for row in rows_of(notes.steps):
            choice = self._choices[row.node] if row.computes else None
            view = notes.values.get(choice.site.outputs[0]) if choice else None
            found.append(
                StepInfo(
                    row.index,
                    row.node,
                    choice.site.op.name if choice else CONVERSION,
                    row.kernel,
                    choice.kernel.title if choice else CONVERSION,
                    str(choice.site.out_types[0]) if choice else "",
                    str(view.layout) if view else "",
                    row.macs,
                    row.nbytes,
                    choice.candidates if choice else (),
                    choice.seconds if choice and choice.kernel is not REFERENCE else None,
                    choice.measured if choice else False,
                    row.strips,
                )
            )
        return found

    def memory(self, batch: int | None = None) -> Memory:
        """Bytes of the plan of a batch size, by purpose."""
        return self._notes(batch).memory

    def profile(self, /, *args: Any, repeats: int = 20, **named: Any) -> list[StepTime]:
        """Time every step by itself, in order, ``repeats`` times; rows in order of execution."""
        batch, inputs = self._inputs(args, named)
        steps, parts = self._seconds(batch, inputs, repeats)
        rows = []
        for info in self.explain(batch):
            seconds = float(steps[info.index]) * parts.get((info.index, info.node), 1.0)
            rows.append(
                StepTime(
                    info.node,
                    info.op,
                    info.kernel,
                    seconds,
                    seconds / float(steps.sum()),
                    2e-9 * info.macs / seconds,
                    1e-9 * info.nbytes / seconds,
                )
            )
        return rows

    def tap(self, /, *args: Any, values: Iterable[str] | None = None, **named: Any) -> dict[str, np.ndarray]:
        """Run, and return inner values by name in their logical shape (all that are kept, or ``values``).

        Values are kept by ``compile(..., taps=names)``, which may name values inside fused nodes too, and by
        ``keep_values=True`` (all node outputs): others share memory.
        """
        names = self._kept(values)
        batch, inputs = self._inputs(args, named)
        plan = self._program.plan(batch)
        context = self._program.acquire(plan)
        outputs = self._program.execute(plan, context, inputs)
        notes: Lowered = plan.notes
        found = {}
        for value in names:
            view, type_ = notes.values[value], self._type(value)
            shape = type_.extents(batch)
            if view.buffer.place == "input":
                found[value] = np.array(inputs[view.buffer.name]).reshape(shape)
            elif view.buffer.array is not None:
                found[value] = view.buffer.array.reshape(shape)
            else:
                memory = self._memory(context, notes.offsets[view.buffer], view, type_)
                found[value] = _logical(memory, view, shape)
        self._program.release(plan, context)
        return found | {k: v for k, v in outputs.items() if values is None}

    # -- what another target does otherwise --------------------------------------------------------

    def _take(self, name: str, type_: TensorType, value: Any) -> Any:
        """An input as the program wants it: a contiguous array of the dtype of ``type_``."""
        return _array(name, type_, value)

    def _seconds(
        self, batch: int, inputs: dict[str, np.ndarray], repeats: int
    ) -> tuple[np.ndarray, dict[tuple[int, str], float]]:
        """Median seconds of each step, and the parts of those that compute several nodes."""
        plan = self._program.plan(batch)
        context = self._program.acquire(plan)
        self._program.execute(plan, context, inputs)
        pieces = _pieces(plan)
        times = np.zeros((repeats, len(pieces)))
        for row in times:
            for i, piece in enumerate(pieces):
                start = time.perf_counter()
                if isinstance(piece, PythonCall):
                    piece.function(context)
                else:
                    driver.walk(context.table_address + ROW * piece, 1, self.threads)
                row[i] = time.perf_counter() - start
        parts = shares(plan.notes.steps, context, min(repeats, 3))
        self._program.release(plan, context)
        return np.median(times, axis=0), parts

    def _memory(self, context: Any, offset: int, view: View, type_: TensorType) -> np.ndarray:
        """The elements of the buffer of ``view``, which lies at ``offset`` bytes of the arena."""
        dtype = np.dtype(type_.dtype)
        return context.arena[offset : offset + view.buffer.nbytes // dtype.itemsize * dtype.itemsize].view(
            dtype
        )

    # -- inside ----------------------------------------------------------------------------------

    def _kept(self, values: Iterable[str] | None) -> list[str]:
        """The names in ``values`` (None: of all that are kept), checked."""
        notes = self._notes(None)
        known = sorted(notes.kept)
        if not known:
            raise InputError("tap needs a model compiled with taps=[names of values] or keep_values=True")
        for value in values or ():
            if value not in notes.values:
                raise InputError(f"no value '{value}' in the program{nearest(value, known)}")
            if value not in notes.kept:
                raise InputError(f"'{value}' is not kept: compile with taps=['{value}'] or keep_values=True")
        return known if values is None else list(values)

    def _type(self, value: str) -> TensorType:
        for choice in self._choices.values():
            if value in choice.site.outputs:
                return choice.site.out_types[choice.site.outputs.index(value)]
        return self.graph.type(value)

    def _notes(self, batch: int | None) -> Lowered:
        return self._program.plan(batch or self._batch).notes

    def _inputs(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
        """The batch size and the inputs by name, checked; this is most of what a call costs in Python."""
        types = self._wanted
        if named or len(args) != len(types):
            args = self._in_order(args, named)
        arrays = {n: self._take(n, types[n], value) for n, value in zip(types, args, strict=True)}
        batch = self._batch
        if self._batched:
            name, axis = self._batched
            batch = arrays[name].shape[axis] if axis < len(arrays[name].shape) else 0
            if not batch:
                raise _wrong_shape(name, arrays[name].shape, types[name], types[name].extents(batch))
        for name, shape in self._shapes(batch).items():
            if arrays[name].shape != shape:
                raise _wrong_shape(name, arrays[name].shape, types[name], shape)
        return batch, arrays

    def _in_order(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """The value of every input."""
        types = self._wanted
        if len(args) > len(types):
            raise InputError(f"the model takes {len(types)} inputs ({', '.join(types)}), got {len(args)}")
        given = dict(zip(types, args, strict=False))
        for name, value in named.items():
            if name not in types:
                raise InputError(f"no input '{name}'{nearest(name, types)}")
            if name in given:
                raise InputError(f"input '{name}' is given twice")
            given[name] = value
        for name, type_ in types.items():
            if name not in given:
                raise InputError(f"input '{name}' {type_} is missing")
        return tuple(given[name] for name in types)


def _array(name: str, type_: TensorType, value: Any) -> np.ndarray:
    """``value`` as a contiguous array of the dtype of ``type_``; raises InputError when it is of another."""
    if type(value) is np.ndarray:
        array = value
    elif hasattr(value, "__array__"):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__"):
        array = np.from_dlpack(value)
    else:
        raise InputError(
            f"input '{name}' should be an array {type_}, got {type(value).__name__}; "
            "wrap it with numpy.asarray(..., dtype)"
        )
    if array.dtype != type_.dtype:
        raise InputError(
            f"input '{name}' should be {type_}, got dtype {array.dtype}; "
            f"convert it with .astype('{type_.dtype}')"
        )
    return array if array.flags.c_contiguous else array.copy()


def _wrong_shape(name: str, shape: tuple[int, ...], type_: TensorType, wanted: tuple[int, ...]) -> InputError:
    """What to say of an input of ``shape`` that should be ``type_``, with the others ``wanted``."""
    fits = len(shape) == type_.rank and all(
        n == w if isinstance(w, int) else n > 0 for n, w in zip(shape, type_.shape, strict=True)
    )
    but = f"; beside the other inputs {list(wanted)}" if fits else ""
    return InputError(f"input '{name}' should be {type_}, got shape {list(shape)}{but}")


def _batch_axis(types: Mapping[str, TensorType]) -> tuple[str, int] | None:
    """The first input that tells the batch size, and its axis; None where all have a fixed shape."""
    places = ((name, type_.shape.index(BATCH)) for name, type_ in types.items() if BATCH in type_.shape)
    return next(places, None)


def _pieces(plan: Plan) -> list[int | PythonCall]:
    pieces: list[int | PythonCall] = []
    for segment in plan.segments:
        pieces += [segment] if isinstance(segment, PythonCall) else range(*segment)
    return pieces


def _logical(memory: np.ndarray, view: View, shape: tuple[int, ...]) -> np.ndarray:
    """A copy of a value in its logical (NCHW) shape, out of the elements of its buffer."""
    elements = memory[view.offset :]
    if view.layout.kind == "plain":
        return elements[: math.prod(shape)].reshape(shape).copy()
    c, h, w = view.layout.image  # type: ignore[misc]
    by_channel = view.layout.kind == "planes"
    strides = (view.pitch, w, 1) if by_channel else (1, view.pitch * w, view.pitch)
    size = memory.itemsize
    found = as_strided(
        elements,
        (shape[0], c, h, w),
        [size * step for step in (view.image_stride, *strides)],
        writeable=False,
    )
    return np.ascontiguousarray(found).reshape(shape)
