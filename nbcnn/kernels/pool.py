"""Pooling over windows and over the whole plane: what the records of every target share."""

from __future__ import annotations

from nbcnn.kernels.base import AnyTarget, Kernel, Site
from nbcnn.kernels.rows import Walk
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.options import CompileOptions


class WindowPool(Kernel[AnyTarget]):
    """max_pool and avg_pool over one to three axes."""

    name = "pool"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        return None if site.op.name in ("max_pool", "avg_pool") else f"{site.op.name} is no pooling"


class GlobalPool(Kernel[AnyTarget]):
    """global_avg_pool and global_max_pool."""

    name = "global_pool"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        known = ("global_avg_pool", "global_max_pool")
        return None if site.op.name in known else f"{site.op.name} is no global pooling"


def walks(site: Site) -> list[Walk]:
    """The windows of a pool along each axis of the plane."""
    op: MaxPool | AvgPool = site.op  # type: ignore[assignment]
    at = op.at(site.in_types[0])
    size, out = (t.extents()[2:] for t in (site.in_types[0], site.out_types[0]))
    rank = len(size)
    pads = (at.pads[:rank], at.pads[rank:])
    axes = zip(size, out, at.kernel, at.stride, at.dilation, *pads, strict=True)
    return [Walk(*numbers) for numbers in axes]
