"""Operators that move nothing: their output is their input, read otherwise; concatenation and split."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit, Kernel, Layout, Site, Step, View, nhwc
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Alias(Kernel):
    """dropout (nothing at inference), flatten, reshape: the value stays as it lies, whatever its shape.

    A reader that wants it otherwise converts it; one that undoes the reshape, or reads channels and
    pixels apart as a channel shuffle does, finds the image that it was.
    """

    name = "alias"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name in ("dropout", "flatten", "reshape"):
            return None
        return f"{site.op.name} computes something"

    def cost(self, site: Site, target: Target) -> float:
        return 0.0

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind in ("plain", "nhwc")

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins[:1]

    def within(self, site: Site, ins: tuple[View, ...], target: Target) -> tuple[View | None, ...]:
        return ins

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        return []


class Concat(Kernel):
    """Concatenation along channels: operands that were computed in place cost nothing, others a copy."""

    name = "concat"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "concat":
            return f"{site.op.name} is no concat"
        rank = site.out_types[0].rank
        if nhwc(site.out_types[0]).image is None or site.op.axis % rank != 1:  # type: ignore[attr-defined]
            return "only the channel axis of [N, C, H, W] and [N, F] is supported"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def offsets(self, site: Site) -> tuple[int, ...]:
        """The first channel of each operand in the output."""
        return _starts(site.in_types)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        steps = []
        for view, start in zip(ins, self.offsets(site), strict=True):
            slot = _slot(out, start, view.layout)
            if view.buffer is not slot.buffer or view.offset != slot.offset:
                steps.append(_copy(site, view, slot, emit))
        return steps


class Split(Kernel):
    """Division of the channels: a part that begins at a whole vector is read where it lies, or else copied.

    The lanes that pad such a part hold its neighbour: kernels never rely on what pads a value.
    """

    name = "split"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "split":
            return f"{site.op.name} is no split"
        rank = site.in_types[0].rank
        if nhwc(site.in_types[0]).image is None or site.op.axis % rank != 1:  # type: ignore[attr-defined]
            return "only the channel axis of [N, C, H, W] and [N, F] is supported"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def within(self, site: Site, ins: tuple[View, ...], target: Target) -> tuple[View | None, ...]:
        return tuple(
            None if start % target.lanes else _slot(ins[0], start, nhwc(type_))
            for start, type_ in zip(_starts(site.out_types), site.out_types, strict=True)
        )

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        starts = _starts(site.out_types)
        return [
            _copy(site, _slot(ins[0], start, out.layout), out, emit)
            for start, out in zip(starts, outs, strict=True)
            if out.buffer is not ins[0].buffer
        ]


def _starts(types: tuple[TensorType, ...]) -> tuple[int, ...]:
    """The first channel of each of several values that lie one after the other."""
    return tuple(accumulate((int(t.shape[1]) for t in types[:-1]), initial=0))


def _slot(whole: View, start: int, layout: Layout) -> View:
    """The channels of ``layout`` that begin at ``start`` in ``whole``."""
    return replace(whole, layout=layout, offset=whole.offset + start)


def _copy(site: Site, source: View, target: View, emit: Emit) -> Step:
    """Channels from one place to another."""
    c, h, w = source.layout.image  # type: ignore[misc]
    rows = emit.batch * h * w
    args = (source.address, target.address, rows, c, source.pitch, target.pitch)
    spec = KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")
    return Step(site.name, spec, args, nbytes=8 * rows * c)
