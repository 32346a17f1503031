"""Pooling over windows and over the whole plane."""

from __future__ import annotations

import math

from nbcnn.kernels import pool
from nbcnn.kernels.base import Emit, Rowwise, Site
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.layouts import F32, Buffer, View, round_up
from nbcnn.kernels.pool import walks
from nbcnn.kernels.rows import Walk
from nbcnn.kernels.steps import Step
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MAX, AVERAGE = 0, 1

WINDOW, MAX_TAP, MEAN_TAP = 0.67e-9, 0.61e-9, 0.36e-9
"""Seconds for a vector of results, and for each of its points, fitted as ``estimates``."""


def _bytes(site: Site, emit: Emit) -> int:
    return site.in_types[0].nbytes(emit.batch) + site.out_types[0].nbytes(emit.batch)


class WindowPool(pool.WindowPool[Target], Rowwise):
    """max_pool and avg_pool over one to three axes.

    A maximum over a volume is one over its planes and then over depth; so is a mean, because the number of
    points that a window counts is the product of those along each axis.
    """

    def cost(self, site: Site, target: Target) -> float:
        taps = math.prod(site.op.at(site.in_types[0]).kernel)  # type: ignore[attr-defined]
        vectors = estimates.nbytes(site.out_types, target.lanes) / (F32 * target.lanes)
        seconds = vectors * (WINDOW + taps * (MAX_TAP if site.op.name == "max_pool" else MEAN_TAP))
        moved = estimates.nbytes((*site.in_types, *site.out_types), target.lanes)
        return estimates.CALL + seconds + estimates.far(moved, target, 2 * estimates.FAR)

    def walk(self, site: Site) -> Walk:
        return walks(site)[0]

    def steps(
        self,
        site: Site,
        ins: tuple[View, ...],
        outs: tuple[View, ...],
        emit: Emit,
        rows: Walk | None = None,
    ) -> list[Step]:
        (a,), (out,), batch = ins, outs, emit.batch
        *rest, height, width = (Walk(1, 1), *walks(site))
        if len(rest) < 2:
            return [_planes(site, a, out, batch, rows or height, width, emit)]
        depth = rest[1]
        if depth.idle:
            return [_planes(site, a, out, batch * depth.size, height, width, emit)]
        if height.idle and width.idle:
            return [_planes(site, a, out, batch, depth, _together(height, width), emit)]
        pitch = round_up(int(site.in_types[0].shape[1]), emit.target.lanes)
        floats = depth.size * height.out * width.out * pitch
        scratch = Buffer(f"{site.name}.planes", F32 * batch * floats, purpose="scratch")
        between = View(scratch, a.layout, pitch, floats)
        return [
            _planes(site, a, between, batch * depth.size, height, width, emit),
            _planes(site, between, out, batch, depth, _together(height, width), emit),
        ]


def _together(height: Walk, width: Walk) -> Walk:
    """The points that pooling along ``height`` and ``width`` leaves, each a window of its own."""
    return Walk(height.out * width.out, height.out * width.out)


def _planes(site: Site, a: View, out: View, images: int, rows: Walk, cols: Walk, emit: Emit) -> Step:
    """Pooling of ``images`` planes, which follow each other without gaps."""
    op: MaxPool | AvgPool = site.op  # type: ignore[assignment]
    lanes = emit.target.lanes
    maximum = isinstance(op, MaxPool)
    args = (
        a.address,
        out.address,
        *(images, rows.size, cols.size, rows.out, cols.out),
        *(rows.kernel, cols.kernel, rows.stride, cols.stride),
        *(rows.before, cols.before, rows.dilation, cols.dilation),
        *(round_up(int(site.in_types[0].shape[1]), lanes), a.pitch, out.pitch),
        *(rows.size * cols.size * a.pitch, rows.out * cols.out * out.pitch),
        int(not maximum and op.count_include_pad),  # type: ignore[union-attr]
        *(rows.padded, cols.padded),
    )
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.pool:make_window",
        (("OP", MAX if maximum else AVERAGE), ("LANES", lanes)),
        f"f32_{op.name}__{emit.target.isa}",
    )
    return Step(site.name, spec, args, nbytes=_bytes(site, emit))


class GlobalPool(pool.GlobalPool[Target]):
    """global_avg_pool and global_max_pool."""

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed(site.in_types, target, near=7.4e-12)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        a, lanes = ins[0], emit.target.lanes
        n, c, *size = site.in_types[0].extents(emit.batch)
        args = (
            a.address,
            out.address,
            *(n, math.prod(size), round_up(c, lanes), a.pitch, a.image_stride, out.image_stride),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.pool:make_global",
            (("OP", AVERAGE if site.op.name == "global_avg_pool" else MAX), ("LANES", lanes)),
            f"f32_{site.op.name}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]
