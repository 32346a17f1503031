"""The order of a value's elements in memory, as strides, and the loops that walk two orders at once.

A view is described by its *strides*: (extent, stride) pairs from the slowest index of the logical
order to the fastest. A plain image is a single pair, an NHWC one has pairs for C and for the pixels.
Pairs split and pair up as far as their extents divide, so that one function serves every layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nbcnn.ir.types import TensorType
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc

Strides = list[tuple[int, int]]
"""(extent, stride) in logical order, slowest first; strides in elements."""

FEW_CHANNELS = 8
"""Below so many channels an NHWC image is mostly padding."""

FAR = 1 << 40
"""A distance of pixels that no channel stride reaches, to tell them apart where no view exists yet."""


@dataclass(frozen=True)
class Axis:
    """One loop: its extent, and its strides in source and target."""

    extent: int
    source: int
    target: int


def strides(layout: Layout, elements: int, pitch: int) -> Strides:
    """One image of ``elements`` in ``layout``, whose pixels are ``pitch`` apart."""
    if layout == PLAIN:
        return [(elements, 1)]
    c, h, w = layout.image  # type: ignore[misc]
    return [(c, 1), (h * w, pitch)]


def split(pairs: Strides, shape: Sequence[int]) -> list[Strides] | None:
    """``pairs`` cut at the axes of ``shape``: a list for each axis. None where they do not divide."""
    left = [p for p in pairs if p[0] > 1]
    groups: list[Strides] = []
    for wanted in shape:
        group: Strides = []
        while wanted > 1:
            extent, stride = left.pop(0)
            if wanted % extent == 0:
                group.append((extent, stride))
                wanted //= extent
            elif extent % wanted == 0:
                inner = extent // wanted
                group.append((wanted, stride * inner))
                left.insert(0, (inner, stride))
                wanted = 1
            else:
                return None
        groups.append(group)
    return groups


def pair(source: Strides, target: Strides) -> list[Axis] | None:
    """The loops that walk both; None where the extents do not divide."""
    a, b = ([p for p in pairs if p[0] > 1] for pairs in (source, target))
    axes: list[Axis] = []
    while a and b:
        (m, s), (n, t) = a.pop(0), b.pop(0)
        extent = min(m, n)
        if max(m, n) % extent:
            return None
        axes.append(Axis(extent, s * (m // extent), t * (n // extent)))
        if m > extent:
            a.insert(0, (m // extent, s))
        if n > extent:
            b.insert(0, (n // extent, t))
    return axes


def axes_of(view: View, shape: Sequence[int]) -> list[Strides] | None:
    """The strides of each axis of a value in ``view`` whose images are read as ``shape``."""
    return split(strides(view.layout, math.prod(shape), view.pitch), shape)


def nominal(layout: Layout, type_: TensorType) -> View:
    """A view of one image of ``type_`` in ``layout``, in no buffer: its pixels lie `FAR` apart."""
    elements = type_.elements()
    return View(Buffer("", 0), layout, elements if layout == PLAIN else FAR, elements)


def matched(
    source: Iterable[Strides], target: Iterable[Strides], batch: int, images: tuple[int, int]
) -> list[Axis] | None:
    """The loops of a move whose logical axes correspond one to one; ``images``: both image strides."""
    axes = [Axis(batch, *images)]
    for a, b in zip(source, target, strict=True):
        found = pair(a, b)
        if found is None:
            return None
        axes += found
    return axes


def ordinary(type_: TensorType, layout: Layout) -> bool:
    """Whether a value of ``type_`` lies in its plain order or as its own image: every axis has one stride."""
    return layout in (PLAIN, nhwc(type_))


def layout_for(type_: TensorType, ins: Iterable[Layout]) -> Layout:
    """How a moved value best lies: as kernels read it, unless it comes in its plain order and is no image
    or one whose pixels would be mostly padding."""
    natural = nhwc(type_)
    if natural.image is None:
        return PLAIN
    c, h, w = natural.image
    mostly_padding = c < FEW_CHANNELS and h * w > 1
    from_plain = [layout == PLAIN for layout in ins]
    return PLAIN if all(from_plain) and (mostly_padding or type_.rank not in (2, 4)) else natural


def part(axes: list[Strides], axis: int, start: int, count: int, step: int = 1) -> tuple[list[Strides], int]:
    """The strides of ``count`` elements of one axis from ``start`` on, and the distance of the first."""
    if not axes[axis]:  # of extent 1
        return axes, 0
    ((_, stride),) = axes[axis]
    return [*axes[:axis], [(count, stride * step)], *axes[axis + 1 :]], start * stride


def in_place(axes: Iterable[Axis]) -> bool:
    """Whether every element already lies where it is wanted."""
    return all(a.source == a.target for a in axes if a.extent > 1)


def merged(axes: Iterable[Axis]) -> list[Axis]:
    """The loops in order of the target, those that are one loop in both joined."""
    loops: list[Axis] = []
    for axis in sorted((a for a in axes if a.extent > 1), key=lambda a: (-a.target, -abs(a.source))):
        last = loops[-1] if loops else None
        if last and (last.source, last.target) == (axis.extent * axis.source, axis.extent * axis.target):
            loops[-1] = Axis(last.extent * axis.extent, axis.source, axis.target)
        else:
            loops.append(axis)
    return loops


@dataclass(frozen=True)
class Loops:
    """The loops of a reduction: what stays, what goes, and the axis whose elements follow each other in the
    source; ``across`` tells that it stays, and that its elements follow each other in the target, too."""

    kept: list[Axis]
    reduced: list[Axis]
    inner: Axis
    across: bool


def reduced_loops(x: TensorType, along: tuple[int, ...], source: View, target: View, batch: int) -> Loops:
    """The loops of a reduction of ``x`` along these axes."""
    gone = [a - 1 for a in along if a]
    shape = x.extents()[1:]
    a = axes_of(source, shape)
    b = axes_of(target, [1 if i in gone else n for i, n in enumerate(shape)])
    assert a is not None and b is not None
    stays = [[] if i in gone else strides for i, strides in enumerate(a)]
    kept = matched(stays, b, batch, (source.image_stride, target.image_stride))
    assert kept is not None
    kept = merged(kept)
    # What is reduced has no place in the target: the order of the source stands for it.
    reduced = merged(Axis(n, s, s) for i in gone for n, s in a[i])
    inner = next((k for k in kept if k.source == 1 and k.target == 1), None)
    if inner is not None:
        return Loops([k for k in kept if k is not inner], reduced, inner, True)
    inner = next((r for r in reduced if r.source == 1), Axis(1, 1, 1))
    return Loops(kept, [r for r in reduced if r is not inner], inner, False)
