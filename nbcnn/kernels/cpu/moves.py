"""Copies between two orders of the same elements, as a loop nest: see ``code/move.py``.

A view is described by its *strides*: (extent, stride) pairs from the slowest index of the logical
order to the fastest. A plain image is a single pair, an NHWC one has pairs for C and for the pixels.
Pairs split and pair up as far as their extents divide, so that one function serves every layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import F32, PLAIN, Address, Buffer, Emit, Layout, Step, View, nhwc, round_up
from nbcnn.runtime.codecache import KernelSpec

Strides = list[tuple[int, int]]
"""(extent, stride) in logical order, slowest first; strides in floats."""

FORMS = ("rows", "fill", "strided", "transpose", "weave", "unweave")
ROWS, FILL, STRIDED, TRANSPOSE, WEAVE, UNWEAVE = range(6)

MOST_WOVEN = 9
"""Rows that are woven in registers; more are transposed."""

FEW_CHANNELS = 8
"""Below so many channels an NHWC image is mostly padding."""

FAR = 1 << 40
"""A distance of pixels that no channel stride reaches, to tell them apart where no view exists yet."""

LONG, CHUNK = 4096, 1024
"""Floats of an inner loop above which it is cut into chunks, for the threads to share."""


@dataclass(frozen=True)
class Axis:
    """One loop of a move: its extent, and its strides in source and target."""

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


def move(
    site: str,
    source: View,
    target: View,
    axes: Sequence[Axis],
    emit: Emit,
    offsets: tuple[int, int] = (0, 0),
) -> list[Step]:
    """The steps that copy along ``axes``, ``offsets`` floats into the views."""
    starts = (source.offset + offsets[0], target.offset + offsets[1])
    loops = merged(_widened(axes, source, target, emit.target.lanes))
    form, inner, outer = _inner(loops)
    return _steps(site, (source, target), starts, form, inner, outer, emit)


def _widened(axes: Sequence[Axis], source: View, target: View, lanes: int) -> list[Axis]:
    """The lanes that pad pixels are copied too where pixels then follow each other without gaps."""
    if source.layout != target.layout or source.layout == PLAIN or source.pitch != target.pitch:
        return list(axes)
    channels = source.layout.image[0]  # type: ignore[index]
    if source.pitch != round_up(channels, lanes):
        return list(axes)
    whole = Axis(channels, 1, 1)
    return [Axis(source.pitch, 1, 1) if a == whole else a for a in axes]


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


def _inner(loops: list[Axis]) -> tuple[int, tuple[Axis, ...], list[Axis]]:
    """The form of the inner loops, those loops, and the others."""
    read = next((a for a in loops if a.source == 1), None)
    write = next((a for a in loops if a.target == 1), None)
    form: int
    inner: tuple[Axis, ...]
    if not loops:
        return ROWS, (Axis(1, 1, 1),), []
    if read is not None and read is write:
        form, inner = ROWS, (read,)
    elif write is not None and write.source == 0:
        form, inner = FILL, (write,)
    elif read is None or write is None:
        form, inner = STRIDED, (write or loops[-1],)
    else:
        form, inner = TRANSPOSE, (read, write)
        # Rows that make whole pixels, or are made of them, may be a grid: those of a block of points.
        if (rows := _rows(loops, [(a.extent, a.target) for a in loops], read.target)) is not None:
            form, inner = WEAVE, (read, *rows)
        elif (rows := _rows(loops, [(a.extent, a.source) for a in loops], write.source)) is not None:
            form, inner = UNWEAVE, (write, *rows)
    return form, inner, [a for a in loops if not any(a is b for b in inner)]


def _rows(loops: list[Axis], side: Strides, pixel: int) -> tuple[Axis, ...] | None:
    """The one or two axes that are the floats of pixels of ``pixel`` floats on this side, fastest first."""
    found: tuple[Axis, ...] = ()
    size = 1
    while size < pixel <= MOST_WOVEN and len(found) < 2:
        at = next((i for i, (_, stride) in enumerate(side) if stride == size), None)
        if at is None:
            return None
        found, size = (*found, loops[at]), size * side[at][0]
    return found if found and size == pixel else None


def _steps(
    site: str,
    views: tuple[View, View],
    starts: tuple[int, int],
    form: int,
    inner: tuple[Axis, ...],
    outer: list[Axis],
    emit: Emit,
) -> list[Step]:
    lanes = emit.target.lanes
    u, v, w = inner[0], inner[min(1, len(inner) - 1)], inner[2] if len(inner) > 2 else Axis(1, 0, 0)
    nu, rest = u.extent, 0
    if form == TRANSPOSE:
        outer = [*outer, Axis(-(-v.extent // lanes), lanes * v.source, lanes * v.target)]
    elif nu >= LONG:
        outer = [*outer, Axis(nu // CHUNK, CHUNK * u.source, CHUNK * u.target)]
        nu, rest = CHUNK, nu % CHUNK
    # STRIDED steps along its one axis; TRANSPOSE, WEAVE and UNWEAVE from row to row of their second one.
    steps = (v.source, u.target) if form in (STRIDED, TRANSPOSE, WEAVE) else (0, v.target)
    woven, line, nv = 1, 1, v.extent
    if form in (WEAVE, UNWEAVE):
        woven, line, nv = v.extent * w.extent, v.extent, w.source if form == WEAVE else w.target
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.move:make",
        (("FORM", form), ("G", woven), ("LINE", line), ("LANES", lanes)),
        f"f32_{FORMS[form]}{woven if woven > 1 else ''}__{emit.target.isa}",
    )

    def step(starts: tuple[int, int], nu: int, outer: list[Axis]) -> Step:
        outer = outer or [Axis(1, 0, 0)]
        units = math.prod(a.extent for a in outer)
        args = (
            *(Address(view.buffer, F32 * start) for view, start in zip(views, starts, strict=True)),
            *(units, len(outer), nu, nv, *steps),
            *(word for a in reversed(outer) for word in (a.extent, a.source, a.target)),
        )
        return Step(site, spec, args, nbytes=2 * F32 * units * nu * (lanes if form == TRANSPOSE else woven))

    found = [step(starts, nu, outer)]
    if rest:
        done = u.extent - rest
        found.append(step((starts[0] + done * u.source, starts[1] + done * u.target), rest, outer[:-1]))
    return found
