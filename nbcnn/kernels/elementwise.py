"""Element by element: what the records of every target share. Broadcasting becomes loops over rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.ir.types import TensorType
from nbcnn.kernels import epilogue
from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import PLAIN, Address, Layout, View, nhwc, round_up
from nbcnn.options import CompileOptions

LOOPS = 4
"""Loops over rows that kernels have, beside the one along a row."""


def nbytes(site: Site, emit: Emit) -> int:
    """What a site reads and writes."""
    return sum(t.nbytes(emit.batch) for t in (*site.in_types, *site.out_types))


class Unary(Kernel[AnyTarget]):
    """An activation alone; it works on any NHWC layout, a flattened image too, and on plain values."""

    name = "unary"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if len(site.body) == 1 and epilogue.activation(site.op) is not None:
            return None
        return f"{site.op.name} is no activation of one instruction or a few"

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind in ("nhwc", "plain")

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins[:1]

    def activation(self, site: Site) -> Epilogue:
        """The activation of a site that is not refused."""
        found = epilogue.activation(site.op)
        assert found is not None
        return found


class Affine(Kernel[AnyTarget]):
    """batch_norm that could not be folded away: x * scale[c] + shift[c]."""

    name = "affine"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        main, *rest = site.body
        if main.op.name != "batch_norm":
            return f"{main.op.name} is no batch_norm"
        if len(rest) > 1 or (rest and epilogue.activation(rest[0].op) is None):
            return "more than one activation follows"
        return None if nhwc(site.in_types[0]).image else "only values of two to five axes are vectorised"

    def vectors(self, site: Site, emit: Emit) -> np.ndarray:
        """Scales, then shifts, of whole vectors of channels: float32 [2, channels]."""
        main, *_ = site.body
        weights = tuple(site.weight(name) for name in main.weights)
        epsilon, lanes = main.op.epsilon, emit.target.lanes  # type: ignore[attr-defined]

        def pack() -> np.ndarray:
            gamma, beta, mean, variance = (w.array.astype(np.float64) for w in weights)
            scale = gamma / np.sqrt(variance + epsilon)
            packed = np.zeros((2, round_up(len(scale), lanes)), np.float32)
            packed[0, : len(scale)] = scale
            packed[1, : len(scale)] = beta - mean * scale
            return packed

        return emit.store.get(("weights", "affine", weights, epsilon, lanes), pack)


def last_activation(site: Site) -> Epilogue:
    """The activation behind the main operator of a body, which may be none."""
    _, *rest = site.body
    return (epilogue.activation(rest[0].op) if rest else None) or Epilogue()


class Binary(Kernel[AnyTarget]):
    """Arithmetic on two values that broadcast to each other; then an activation, and a third value added
    before or after it, as it lies (squeeze and excitation: x * gate + shortcut).

    Images lie in NHWC, everything else plain; a constant is laid out as the result is, once.
    """

    name = "binary"
    takes_constants = True

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, *BINARIES)
        if isinstance(found, str):
            return found
        main, _ = found
        if any(site.actual(v) not in site.data for v in main.inputs):
            return "an operand is no data operand"
        if _layout(site) == PLAIN and len(set(site.in_types)) > 1 and site.out_types[0].rank > LOOPS + 1:
            return f"a broadcast to more than {LOOPS + 1} axes may take more loops than there are"
        return None

    def reads(self, site: Site) -> tuple[Layout, ...]:
        plain = _layout(site) == PLAIN
        return tuple(
            PLAIN if plain or v in site.constants else nhwc(t)
            for v, t in zip(site.data, site.in_types, strict=True)
        )

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (_layout(site),)


def _layout(site: Site) -> Layout:
    """How the result lies: as an image where it and every computed operand is one, else plain."""
    (out,) = site.out_types
    computed = [t for v, t in zip(site.data, site.in_types, strict=True) if v not in site.constants]
    return nhwc(out) if all(nhwc(t).image and t.rank == out.rank for t in (out, *computed)) else PLAIN


@dataclass(frozen=True)
class Operand:
    """Where a value begins, and its strides along the logical axes of the result: 0 where it repeats.

    ``packed``: it is a constant of an image, laid out as float32.
    """

    start: Address | np.ndarray
    strides: tuple[int, ...]
    packed: bool = False


@dataclass(frozen=True)
class Loop:
    """One loop: its extent, and the strides of each operand in it."""

    extent: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Walk:
    """A binary site as loops, slowest first, around a row; strides are those of a, b, result, residual.

    ``operands`` are in the same order; without a residual the result stands for it.
    """

    main: Node
    tail: Epilogue
    operands: tuple[Operand, Operand, Operand, Operand]
    loops: tuple[Loop, ...]
    row: Loop


def walk(
    site: Site, ins: tuple[View, ...], out: View, emit: Emit, whole: Callable[[int], bool] = lambda c: True
) -> Walk:
    """The loops of a site that `Binary` does not refuse; those that run on in all operands are one.

    In images channels vary fastest, and rows are whole vectors; where not ``whole(channels)``, a row is one
    pixel.
    """
    main, tail = epilogue.matched(site, *BINARIES)
    shape = site.out_types[0].extents(emit.batch)
    image = out.layout != PLAIN
    names = [site.actual(v) for v in main.inputs] + [tail.residual] * (tail.residual is not None)
    values = [(ins[i], site.in_types[i]) for i in map(site.data.index, names)]
    values.append((out, site.out_types[0]))
    a, b, *rest, result = (_operand(view, type_, shape, image, emit) for view, type_ in values)
    operands = (a, b, result, rest[0] if rest else result)
    lanes = emit.target.lanes if image else 0
    *loops, row = _loops(shape, operands, lanes, not image or whole(shape[1]))
    return Walk(main, tail, operands, tuple(loops), row)


def _operand(view: View, type_: TensorType, shape: tuple[int, ...], image: bool, emit: Emit) -> Operand:
    """A value of ``type_`` as an operand (or the result) of a result of ``shape``."""
    own = (1,) * (len(shape) - type_.rank) + type_.extents(emit.batch)
    repeats = tuple(n != wide for n, wide in zip(own, shape, strict=True))
    start: Address | np.ndarray = view.address
    packed = image and view.layout == PLAIN
    if not image:
        steps = _row_major(own)
    elif packed:
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
    strides = tuple(0 if again else s for s, again in zip(steps, repeats, strict=True))
    return Operand(start, strides, packed)


def _row_major(shape: tuple[int, ...]) -> list[int]:
    """The strides of a contiguous array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _loops(shape: tuple[int, ...], operands: tuple[Operand, ...], lanes: int, joined: bool) -> list[Loop]:
    """`LOOPS` loops at most and the row, slowest first; those that run on in all operands are one.

    ``lanes`` is 0 for plain values; unless ``joined``, the row is not joined with what runs on from it.
    """
    axes = [Loop(n, tuple(s)) for n, *s in zip(shape, *(o.strides for o in operands), strict=True)]
    if lanes:
        channel = axes.pop(1)
        axes.append(replace(channel, extent=round_up(channel.extent, lanes)))
    while joined and len(axes) > 1 and axes[-1].extent == 1:
        axes.pop()
    found = [axes.pop()]
    for axis in reversed(axes):
        inner = found[0]
        runs_on = axis.strides == tuple(inner.extent * s for s in inner.strides)
        if runs_on and (joined or len(found) > 1):
            found[0] = replace(inner, extent=axis.extent * inner.extent)
        elif axis.extent > 1:
            found.insert(0, axis)
    return found
