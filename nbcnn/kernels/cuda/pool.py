"""Pooling over windows and over the whole plane."""

from __future__ import annotations

import math

from nbcnn.errors import NbcnnError
from nbcnn.kernels import pool
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import numbers, pixel_pitch, plain_step, simt, streamed
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.cuda.reduction import MAX, MEAN, reduction_steps
from nbcnn.kernels.layouts import View
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.pool import walks
from nbcnn.kernels.rows import Walk
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.pool import AvgPool
from nbcnn.target import CudaTarget

EACH = 4
"""Channels that a thread computes (``simt/pool.py``)."""

TAP = 1e-12
"""Seconds for each point of a window."""


class WindowPool(pool.WindowPool[CudaTarget]):
    """max_pool and avg_pool over one to three axes."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        taps = math.prod(walk.kernel for walk in walks(site))
        return streamed(site, target) + TAP * taps * site.out_types[0].elements(1)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), target = ins, outs, emit.target
        depth, height, width = axes = [Walk(1, 1), Walk(1, 1), *walks(site)][-3:]
        channels = int(site.in_types[0].shape[1])
        some = pixel_pitch(channels, target) // EACH
        planes, points = emit.batch * depth.out, height.out * width.out
        if max(planes, some * points, math.prod(a.size for a in axes)) > LIMIT:
            raise NbcnnError(f"{site.in_types[0]} is too large for a kernel that pools it")
        include = isinstance(site.op, AvgPool) and site.op.count_include_pad
        args = (
            *(x.address, out.address, planes, some * points, channels, int(include)),
            *(some, *reciprocal(some), width.out, *reciprocal(width.out), depth.out, *reciprocal(depth.out)),
            *(
                number
                for a in axes
                for number in (a.size, a.stride, a.before, a.dilation, a.padded if include else a.size)
            ),
            *(x.pitch, x.image_stride, out.pitch, points * out.pitch, out.image_stride),
        )
        kind, taps = target.kind, tuple(a.kernel for a in axes)
        name = "max" if site.op.name == "max_pool" else "mean"
        kernel = simt(
            *("pool", "make_window", f"{kind}_{name}_pool_{'x'.join(map(str, taps))}", _params(kind), target),
            **{"OP": name, "KIND": kind, "TAPS": taps},
        )
        nbytes = target.size * sum(t.elements(emit.batch) for t in (*site.in_types, *site.out_types))
        return [plain_step(site.name, kernel, target, some * points, args, rows=planes, nbytes=nbytes)]


def _params(kind: str) -> tuple[tuple[str, str], ...]:
    divided = (f"{name}{word}" for name in ("some", "w", "d") for word in ("", "_factor", "_shift"))
    axes = (f"{word}_{a}" for a in "dhw" for word in ("size", "stride", "before", "dilation", "end"))
    return (
        *(("source", f"{kind}[]"), ("out", f"{kind}[]")),
        *numbers("planes units channels include"),
        *numbers(" ".join((*divided, *axes))),
        *numbers("pitch image_stride out_pitch out_plane out_image"),
    )


class GlobalPool(pool.GlobalPool[CudaTarget]):
    """global_avg_pool and global_max_pool."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target, launches=2)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,) = ins, outs
        n, channels, *size = site.in_types[0].extents(emit.batch)
        kept = [Axis(n, x.image_stride, out.image_stride), Axis(channels, 1, 1)]
        how = MEAN if site.op.name == "global_avg_pool" else MAX
        return reduction_steps(site, x, out, how, kept, [Axis(math.prod(size), x.pitch, 0)], True, emit)
