"""Pixels made of other pixels, named by tables: what resize and pad share. See ``code/resample.py``."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.kernels.base import Emit, Site, Store
from nbcnn.kernels.layouts import F32, Buffer, Layout, View, round_up
from nbcnn.kernels.steps import Float, Step
from nbcnn.kernels.taps import Taps
from nbcnn.runtime.codecache import KernelSpec

OUTSIDE = int(np.iinfo(np.int32).min)
"""Table entry of a point that no pixel makes: it gets the fill value."""


def tables(taps: Taps, stride: int, store: Store) -> tuple[np.ndarray, np.ndarray]:
    """(offsets int32, weights float32) for elements ``stride`` floats apart."""
    reach = int(taps.index.max(initial=0)) * stride
    if reach >= 1 << 31:
        raise NbcnnError(f"images of {reach:,} floats are too large: offsets have 32 bits")
    offsets = np.where(taps.index < 0, OUTSIDE, taps.index * stride).astype(np.int32)
    weight = taps.weight.astype(np.float32)
    return tuple(  # type: ignore[return-value]
        store.get(("tables", "taps", a.dtype.str, a.shape, a.tobytes()), a.copy) for a in (offsets, weight)
    )


def plane(
    site: Site, source: View, target: View, planes: int, taps: tuple[Taps, Taps], fill: float, emit: Emit
) -> Step:
    """A step that resamples rows and columns of ``planes`` planes at once; both have 1 tap, or 2."""
    rows, columns = taps
    count = columns.count
    c, height, width = source.layout.image  # type: ignore[misc]
    lanes = emit.target.lanes
    in_stride = emit.batch * height * width // planes * source.pitch
    y, wy = tables(rows, width * source.pitch, emit.store)
    x, wx = tables(columns, source.pitch, emit.store)
    args = (
        *(source.address, target.address, planes, rows.points, columns.points, y, wy, x, wx),
        *(round_up(c, lanes), target.pitch, in_stride, rows.points * columns.points * target.pitch),
        Float(fill),
    )
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.resample:make_plane",
        (("TAPS", count), ("LANES", lanes)),
        f"f32_{'pixels' if count == 1 else 'bilinear'}__{emit.target.isa}",
    )
    made = planes * rows.points * columns.points
    return Step(site.name, spec, args, nbytes=F32 * c * (emit.batch * height * width + made))


def axis(
    site: Site, source: View, target: View, extents: tuple[int, int, int], taps: Taps, fill: float, emit: Emit
) -> Step:
    """A step that resamples the middle one of three axes, ``extents`` long in the source."""
    before, extent, after = extents
    c, lanes = source.layout.image[0], emit.target.lanes  # type: ignore[index]
    width = round_up(c, lanes)
    index, weight = tables(taps, after * source.pitch, emit.store)
    made = after
    if source.pitch == target.pitch == width:
        width, after = after * width, 1
    args = (
        *(source.address, target.address, before, taps.points, after, taps.count, index, weight, width),
        *(extent * made * source.pitch, source.pitch),
        *(taps.points * made * target.pitch, made * target.pitch, target.pitch, Float(fill)),
    )
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.resample:make_axis",
        (("LANES", lanes),),
        f"f32_resample__{emit.target.isa}",
    )
    return Step(site.name, spec, args, nbytes=F32 * c * before * made * (extent + taps.points))


def resample(
    site: Site, source: View, target: View, taps: dict[int, Taps], fill: float, emit: Emit
) -> list[Step]:
    """Steps that resample the axes in ``taps``, counted from 0 behind the channels; others stay."""
    extents = list(site.in_types[0].extents()[2:])
    if len(extents) == 1:  # a signal is an image of one row
        extents, taps = [1, *extents], {1: taps[0]}
    passes = _passes(extents, taps)
    steps: list[Step] = []
    for number, step_taps in enumerate(passes):
        grown = [step_taps[a].points if a in step_taps else n for a, n in enumerate(extents)]
        to = target
        if number < len(passes) - 1:
            c = source.layout.image[0]  # type: ignore[index]
            pitch = round_up(c, emit.target.lanes)
            size = math.prod(grown) * pitch
            scratch = Buffer(f"{site.name}.{number}", F32 * emit.batch * size, purpose="scratch")
            to = View(scratch, Layout("nhwc", (c, math.prod(grown[:-1]), grown[-1])), pitch, size)
        if len(step_taps) == 2:
            planes = emit.batch * math.prod(extents[:-2])
            steps.append(plane(site, source, to, planes, tuple(step_taps.values()), fill, emit))  # type: ignore[arg-type]
        else:
            ((a, along),) = step_taps.items()
            shape = (emit.batch * math.prod(extents[:a]), extents[a], math.prod(extents[a + 1 :]))
            steps.append(axis(site, source, to, shape, along, fill, emit))
        source, extents = to, grown
    return steps


def _passes(extents: list[int], taps: dict[int, Taps]) -> list[dict[int, Taps]]:
    """The axes that each step resamples: one, or rows and columns at once where both are copied or both
    have two taps."""
    rows, columns = len(extents) - 2, len(extents) - 1
    front = [{a: taps[a]} for a in sorted(taps) if a < rows]
    both = {a: taps[a] for a in (rows, columns) if a in taps}
    if both and all(t.count == 1 for t in both.values()):
        both = {a: both.get(a, Taps.of(np.arange(extents[a]))) for a in (rows, columns)}
    if len(both) == 2 and all(t.count == both[rows].count <= 2 for t in both.values()):
        return [*front, both]
    grows = rows in both and both[rows].points > extents[rows]  # the slower axis meets the smaller image
    return [*front, *({a: t} for a, t in sorted(both.items(), reverse=grows))]
