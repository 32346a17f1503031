"""Copies between two orders of the same elements, as a loop nest: see ``code/move.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nbcnn.kernels.base import Emit
from nbcnn.kernels.layouts import F32, PLAIN, Address, View, round_up
from nbcnn.kernels.orders import Axis, Strides, merged
from nbcnn.kernels.steps import Step
from nbcnn.runtime.codecache import KernelSpec

FORMS = ("rows", "fill", "strided", "transpose", "weave", "unweave")
ROWS, FILL, STRIDED, TRANSPOSE, WEAVE, UNWEAVE = range(6)

MOST_WOVEN = 9
"""Rows that are woven in registers; more are transposed."""

LONG, CHUNK = 4096, 1024
"""Floats of an inner loop above which it is cut into chunks, for the threads to share."""


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
