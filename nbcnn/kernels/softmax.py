"""Softmax over the channels of each pixel, or over the last axis: what the records of every target share."""

from __future__ import annotations

from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc
from nbcnn.options import CompileOptions


class Softmax(Kernel[AnyTarget]):
    """softmax and log_softmax over axis 1 of an image or rows, or over the last axis of anything plain."""

    name = "softmax"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name not in ("softmax", "log_softmax"):
            return f"{site.op.name} is no softmax"
        (x,) = site.in_types
        axis = site.op.axis % x.rank  # type: ignore[attr-defined]
        if axis == 0 or (axis != x.rank - 1 and not _over_channels(site)):
            return "only axis 1 and the last one are vectorised"
        return None

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (nhwc(site.in_types[0]) if _over_channels(site) else PLAIN,)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins

    def rows(self, site: Site, x: View, out: View, emit: Emit) -> tuple[int, int, int, int]:
        """How many rows of how many scores, and how far apart they lie in operand and result."""
        (type_,) = site.in_types
        if x.layout == PLAIN:
            length = int(type_.shape[-1])
            return type_.elements(emit.batch) // length, length, length, length
        c, h, w = x.layout.image  # type: ignore[misc]
        return emit.batch * h * w, c, x.pitch, out.pitch


def _over_channels(site: Site) -> bool:
    """Whether the scores of one pixel compete, as they lie side by side in an image."""
    (x,) = site.in_types
    return nhwc(x).image is not None and site.op.axis % x.rank == 1  # type: ignore[attr-defined]
