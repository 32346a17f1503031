"""Operators that move nothing where they can: other shapes, concatenation, split, slice."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate
from typing import ClassVar

from nbcnn.ir.types import TensorType
from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import Layout, View, nhwc
from nbcnn.kernels.steps import DeviceStep, Step
from nbcnn.options import CompileOptions


class Alias(Kernel[AnyTarget]):
    """dropout (nothing at inference), identity, flatten, reshape, squeeze, unsqueeze: nothing moves.

    A reader that wants it otherwise converts it; one that undoes the reshape, or reads channels and
    pixels apart as a channel shuffle does, finds the image that it was. Where only the pixels are
    counted along other axes, it lies as its readers like it.
    """

    name = "alias"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name in ("dropout", "flatten", "identity", "reshape", "squeeze", "unsqueeze"):
            return None
        return f"{site.op.name} computes something"

    def cost(self, site: Site, target: AnyTarget) -> float:
        return 0.0

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind in ("plain", "nhwc")

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        own, (layout,) = nhwc(site.out_types[0]), ins
        if layout.kind == "nhwc" and own.image and layout.image:
            same = own.image[0] == layout.image[0] and math.prod(own.image) == math.prod(layout.image)
            return (own,) if same else ins
        return ins

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        (layout,) = self.writes(site, (ins[0].layout,))
        return (replace(ins[0], layout=layout),)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        return []


class Concat(Kernel[AnyTarget]):
    """Concatenation: operands that were computed in place cost nothing, others a copy from where they lie."""

    name = "concat"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "concat":
            return f"{site.op.name} is no concat"
        return None if _axis(site) else "it joins batches"

    def slots(self, site: Site) -> tuple[int, ...]:
        return _starts(site.in_types, 1) if nhwc(site.out_types[0]).image and _axis(site) == 1 else ()

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[slot], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (orders.layout_for(site.out_types[0], ins),)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        (out,), axis = outs, _axis(site)
        whole = _axes(out, site.out_types[0])
        steps: list[Step | DeviceStep] = []
        for view, type_, start in zip(ins, site.in_types, _starts(site.in_types, axis), strict=True):
            target, offset = orders.part(whole, axis - 1, start, type_.extents()[axis])
            if (view.buffer, view.offset) != (out.buffer, out.offset + offset):
                steps += _move(site, (view, _axes(view, type_), 0), (out, target, offset), emit)
        return steps


class Parts(Kernel[AnyTarget]):
    """split and slice: channels that begin at a whole vector are read where they lie, the rest is copied.

    The lanes that pad such a part hold its neighbour, unless ``whole_vectors``: then it must leave none.
    """

    name = "split"

    whole_vectors: ClassVar[bool] = False
    """Whether kernels multiply what pads a value, if only by zeros."""

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name not in ("split", "slice"):
            return f"{site.op.name} takes no part"
        (x,) = site.in_types
        whole = all(slices.get(0) in (None, (0, 1)) for slices in _slices(site))
        return None if x.rank > 1 and whole else "it divides the batch"

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[0], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return tuple(orders.layout_for(t, ins) for t in site.out_types)

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        (whole,), (x,) = ins, site.in_types
        found: list[View | None] = []
        for type_, slices in zip(site.out_types, _slices(site), strict=True):
            start, step = slices.get(1, (0, 1))
            end = start + int(type_.shape[1])
            channels = step == 1 and set(slices) <= {1} and type_.shape[2:] == x.shape[2:]
            vectors = start % target.lanes == 0 and (
                not self.whole_vectors or end % target.lanes == 0 or end == x.shape[1]
            )
            part = replace(whole, layout=nhwc(type_), offset=whole.offset + start)
            found.append(part if whole.layout.kind == "nhwc" and channels and vectors else None)
        return tuple(found)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        (whole,) = ins
        steps: list[Step | DeviceStep] = []
        for out, type_, slices in zip(outs, site.out_types, _slices(site), strict=True):
            if out.buffer is whole.buffer:
                continue
            source, offset = _axes(whole, site.in_types[0]), 0
            for axis, (start, step) in slices.items():
                if axis:
                    source, further = orders.part(source, axis - 1, start, type_.extents()[axis], step)
                    offset += further
            steps += _move(site, (whole, source, offset), (out, _axes(out, type_), 0), emit)
        return steps


Slices = dict[int, tuple[int, int]]
"""Axis -> (start, step), for the axes of which a part is taken."""


def _slices(site: Site) -> list[Slices]:
    """The part of the operand that each output is."""
    (x,) = site.in_types
    if site.op.name == "split":
        axis = _axis(site)
        return [{axis: (start, 1)} for start in _starts(site.out_types, axis)]
    parts = site.op.along(x)  # type: ignore[attr-defined]
    taken: Slices = {}
    for axis, part in parts.items():
        if x.shape[axis] != site.out_types[0].shape[axis] or part.step != 1:
            start, _, step = part.indices(int(x.shape[axis]))
            taken[axis] = start, step
    return [taken]


def _axis(site: Site) -> int:
    """The axis of a concat or split, counted from the front."""
    return site.op.axis % site.in_types[0].rank  # type: ignore[attr-defined]


def _starts(types: tuple[TensorType, ...], axis: int) -> tuple[int, ...]:
    """The first index along ``axis`` of each of several values that lie one after the other."""
    return tuple(accumulate((int(t.shape[axis]) for t in types[:-1]), initial=0))


def _axes(view: View, type_: TensorType) -> list[orders.Strides]:
    axes = orders.axes_of(view, type_.extents()[1:])
    assert axes is not None, f"{type_} does not lie as {view.layout}"
    return axes


def _move(
    site: Site,
    source: tuple[View, list[orders.Strides], int],
    target: tuple[View, list[orders.Strides], int],
    emit: Emit,
) -> list[Step | DeviceStep]:
    """Copy between two values or parts of them: views, strides, offsets."""
    (a, a_axes, a_start), (b, b_axes, b_start) = source, target
    axes = orders.matched(a_axes, b_axes, emit.batch, (a.image_stride, b.image_stride))
    assert axes is not None
    return emit.backend.move(site.name, a, b, axes, emit, (a_start, b_start))
