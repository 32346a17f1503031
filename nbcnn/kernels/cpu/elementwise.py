"""Element by element: two values with broadcasting, activations, batch norm standing alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels import epilogue
from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.kernels.base import PLAIN, Address, Emit, Kernel, Layout, Site, Step, View, nhwc, round_up
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

LOOPS = 4
"""Loops over rows that the kernel has, beside the one along a row."""

NEAR = 7e-12
"""Seconds for each byte in L2."""


def _bytes(site: Site, emit: Emit) -> int:
    return sum(t.nbytes(emit.batch) for t in (*site.in_types, *site.out_types))


def _rows(view: View, type_: TensorType, emit: Emit) -> tuple[int, int, int]:
    """(rows, width, pitch) of a view whose images follow each other without gaps."""
    if view.layout == PLAIN:
        size = type_.elements(emit.batch)
        return 1, size, size
    c, h, w = view.layout.image  # type: ignore[misc]
    return emit.batch * h * w, round_up(c, emit.target.lanes), view.pitch


class Unary(Kernel):
    """An activation alone; it works on any NHWC layout, a flattened image too, and on plain values."""

    name = "unary"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if len(site.body) == 1 and epilogue.activation(site.op) is not None:
            return None
        return f"{site.op.name} is no activation of one instruction or a few"

    def cost(self, site: Site, target: Target) -> float:
        tail = epilogue.activation(site.op)
        assert tail is not None
        moved = estimates.streamed((*site.in_types, *site.out_types), target, near=NEAR)
        return moved + estimates.activated(site.out_types[0], tail, target)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind in ("nhwc", "plain")

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins[:1]

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        tail = epilogue.activation(site.op)
        assert tail is not None
        rows, width, pitch = _rows(ins[0], site.in_types[0], emit)
        out_pitch = pitch if out.layout == PLAIN else out.pitch
        args = (ins[0].address, out.address, rows, width, pitch, out_pitch, *tail.args)
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_unary",
            (("ACT", tail.code), ("LANES", emit.target.lanes)),
            f"f32_{tail.activation}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


class Binary(Kernel):
    """Arithmetic on two values that broadcast to each other; then an activation, and a third value added
    before or after it, as it lies (squeeze and excitation: x * gate + shortcut).

    Images lie in NHWC, everything else plain; a constant is laid out as the result is, once.
    """

    name = "binary"
    takes_constants = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, *BINARIES)
        if isinstance(found, str):
            return found
        main, _ = found
        if any(site.actual(v) not in site.data for v in main.inputs):
            return "an operand is no data operand"
        if _layout(site) == PLAIN and len(set(site.in_types)) > 1 and site.out_types[0].rank > LOOPS + 1:
            return f"a broadcast to more than {LOOPS + 1} axes may take more loops than there are"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=NEAR)

    def reads(self, site: Site) -> tuple[Layout, ...]:
        plain = _layout(site) == PLAIN
        return tuple(
            PLAIN if plain or v in site.constants else nhwc(t)
            for v, t in zip(site.data, site.in_types, strict=True)
        )

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (_layout(site),)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        main, tail = epilogue.matched(site, *BINARIES)
        shape = site.out_types[0].extents(emit.batch)
        image = outs[0].layout != PLAIN
        names = [site.actual(v) for v in main.inputs] + [tail.residual] * (tail.residual is not None)
        values = [(ins[i], site.in_types[i]) for i in map(site.data.index, names)]
        values.append((outs[0], site.out_types[0]))
        a, b, *rest, out = (_operand(view, type_, shape, image, emit) for view, type_ in values)
        added = rest[0] if rest else out
        *loops, row = _loops(shape, (a, b, out, added), emit.target.lanes if image else 0)
        args = (
            *(a.start, b.start, out.start, row.extent),
            *(loop.extent for loop in loops),
            *(loop.strides[of] for of in range(3) for loop in loops),
            *tail.args,
            added.start,
            *(loop.strides[3] for loop in loops),
        )
        row_a, row_b, *_ = row.strides
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_binary",
            (
                *(("OP", BINARIES[main.op.name]), ("ACT", tail.code), ("RES", tail.order)),
                *(("A", row_a), ("B", row_b), ("LANES", emit.target.lanes)),
            ),
            f"f32_{main.op.name}{tail.label}{_FORMS[row_a, row_b]}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


_FORMS = {(1, 1): "", (1, 0): "_number", (0, 1): "_numberleft", (0, 0): "_numbers"}
"""What the name of a kernel says of its operands: one number for a whole row."""


def _layout(site: Site) -> Layout:
    """How the result lies: as an image where it and every computed operand is one, else plain."""
    (out,) = site.out_types
    computed = [t for v, t in zip(site.data, site.in_types, strict=True) if v not in site.constants]
    return nhwc(out) if all(nhwc(t).image and t.rank == out.rank for t in (out, *computed)) else PLAIN


@dataclass(frozen=True)
class _Operand:
    """Where a value begins, and its strides along the logical axes of the result: 0 where it repeats."""

    start: Address | np.ndarray
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Loop:
    """One loop: its extent, and the strides of each operand in it."""

    extent: int
    strides: tuple[int, ...]


def _operand(view: View, type_: TensorType, shape: tuple[int, ...], image: bool, emit: Emit) -> _Operand:
    """A value of ``type_`` as an operand (or the result) of a result of ``shape``."""
    own = (1,) * (len(shape) - type_.rank) + type_.extents(emit.batch)
    repeats = tuple(n != wide for n, wide in zip(own, shape, strict=True))
    start: Address | np.ndarray = view.address
    if not image:
        steps = _row_major(own)
    elif view.layout == PLAIN:
        channels = 1 if repeats[1] else round_up(own[1], emit.target.lanes)
        name, array = view.buffer.name, view.buffer.array
        assert array is not None, "only constants stay plain beside images"

        def pack() -> np.ndarray:
            packed = np.ones((own[0], *own[2:], channels), np.float32)
            packed[..., : own[1]] = np.moveaxis(array.reshape(own), 1, -1)
            return packed

        start = emit.store.get(("weights", "operand", name, own, channels), pack)
        first, *spatial, _ = _row_major((own[0], *own[2:], channels))
        steps = (first, 1, *spatial)
    else:
        spatial = [step * view.pitch for step in _row_major(own[2:])]
        steps = (view.image_stride, 1, *spatial)
    return _Operand(start, tuple(0 if again else s for s, again in zip(steps, repeats, strict=True)))


def _row_major(shape: tuple[int, ...]) -> list[int]:
    """The strides of a contiguous array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _loops(shape: tuple[int, ...], operands: tuple[_Operand, ...], lanes: int) -> list[_Loop]:
    """`LOOPS` loops and the row, slowest first; those that run on in all operands are one.

    ``lanes`` is 0 for plain values. In images channels vary fastest, and rows are whole vectors.
    """
    axes = [_Loop(n, tuple(s)) for n, *s in zip(shape, *(o.strides for o in operands), strict=True)]
    if lanes:
        channel = axes.pop(1)
        axes.append(replace(channel, extent=round_up(channel.extent, lanes)))
    while len(axes) > 1 and axes[-1].extent == 1:
        axes.pop()
    found = [axes.pop()]
    for axis in reversed(axes):
        row = found[0]
        if axis.strides == tuple(row.extent * s for s in row.strides):
            found[0] = replace(row, extent=axis.extent * row.extent)
        elif axis.extent > 1:
            found.insert(0, axis)
    return [_Loop(1, (0,) * len(operands))] * (LOOPS + 1 - len(found)) + found


class Affine(Kernel):
    """batch_norm that could not be folded away: x * scale[c] + shift[c]."""

    name = "affine"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        main, *rest = site.body
        if main.op.name != "batch_norm":
            return f"{main.op.name} is no batch_norm"
        if len(rest) > 1 or (rest and epilogue.activation(rest[0].op) is None):
            return "more than one activation follows"
        return None if nhwc(site.in_types[0]).image else "only values of two to five axes are vectorised"

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=1.4 * NEAR)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, *rest = site.body
        lanes = emit.target.lanes
        tail = (epilogue.activation(rest[0].op) if rest else None) or Epilogue()
        weights = tuple(site.weight(name) for name in main.weights)
        epsilon = main.op.epsilon  # type: ignore[attr-defined]

        def pack() -> np.ndarray:
            gamma, beta, mean, variance = (w.array.astype(np.float64) for w in weights)
            scale = gamma / np.sqrt(variance + epsilon)
            packed = np.zeros((2, round_up(len(scale), lanes)), np.float32)
            packed[0, : len(scale)] = scale
            packed[1, : len(scale)] = beta - mean * scale
            return packed

        packed = emit.store.get(("weights", "affine", weights, epsilon, lanes), pack)
        rows, width, pitch = _rows(ins[0], site.in_types[0], emit)
        args = (
            *(ins[0].address, out.address, rows, width, pitch, out.pitch),
            *(packed[0], packed[1], *tail.args),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_affine",
            (("ACT", tail.code), ("LANES", lanes)),
            f"f32_affine{tail.label}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]
