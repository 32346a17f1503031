"""Pooling over windows and over the whole plane."""

from __future__ import annotations

from nbcnn.kernels.base import Emit, Kernel, Site, Step, View, round_up
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MAX, AVERAGE = 0, 1


def _bytes(site: Site, emit: Emit) -> int:
    return site.in_types[0].nbytes(emit.batch) + site.out_types[0].nbytes(emit.batch)


class WindowPool(Kernel):
    """max_pool and avg_pool."""

    name = "pool"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        return None if site.op.name in ("max_pool", "avg_pool") else f"{site.op.name} is no pooling"

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        op: MaxPool | AvgPool = site.op  # type: ignore[assignment]
        a, lanes = ins[0], emit.target.lanes
        n, c, h, w = site.in_types[0].extents(emit.batch)
        oh, ow = site.out_types[0].extents()[2:]
        top, left, bottom, right = op.pads(site.in_types[0])
        maximum = isinstance(op, MaxPool)
        args = (
            a.address,
            out.address,
            *(n, h, w, oh, ow, *op.kernel, *op.stride, top, left),  # type: ignore[misc]
            *(op.dilation if maximum else (1, 1)),  # type: ignore[misc]
            *(round_up(c, lanes), a.pitch, out.pitch, a.image_stride, out.image_stride),
            int(not maximum and op.count_include_pad),  # type: ignore[union-attr]
            *(h + top + bottom, w + left + right),
        )
        kind = MAX if maximum else AVERAGE
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.pool:make_window",
            (("OP", kind), ("LANES", lanes)),
            f"f32_{op.name}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


class GlobalPool(Kernel):
    """global_avg_pool and global_max_pool."""

    name = "global_pool"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        known = ("global_avg_pool", "global_max_pool")
        return None if site.op.name in known else f"{site.op.name} is no global pooling"

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        a, lanes = ins[0], emit.target.lanes
        n, c, h, w = site.in_types[0].extents(emit.batch)
        args = (
            a.address,
            out.address,
            *(n, h * w, round_up(c, lanes), a.pitch, a.image_stride, out.image_stride),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.pool:make_global",
            (("OP", AVERAGE if site.op.name == "global_avg_pool" else MAX), ("LANES", lanes)),
            f"f32_{site.op.name}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]
