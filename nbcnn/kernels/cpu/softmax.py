"""Softmax and its logarithm over the channels of each pixel, or over the last axis."""

from __future__ import annotations

from nbcnn.kernels.base import PLAIN, Emit, Kernel, Layout, Site, Step, View, nhwc
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Softmax(Kernel):
    """softmax and log_softmax over axis 1 of an image or rows, or over the last axis of anything plain."""

    name = "softmax"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name not in ("softmax", "log_softmax"):
            return f"{site.op.name} is no softmax"
        (x,) = site.in_types
        axis = site.op.axis % x.rank  # type: ignore[attr-defined]
        if axis == 0 or (axis != x.rank - 1 and not _over_channels(site)):
            return "only axis 1 and the last one are vectorised"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-9

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (nhwc(site.in_types[0]) if _over_channels(site) else PLAIN,)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (x,), (out,), (type_,) = ins, outs, site.in_types
        if x.layout == PLAIN:
            length = int(type_.shape[-1])
            sizes = (type_.elements(emit.batch) // length, length, length, length)
        else:
            c, h, w = x.layout.image  # type: ignore[misc]
            sizes = (emit.batch * h * w, c, x.pitch, out.pitch)
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.softmax:make",
            (("LOG", int(site.op.name == "log_softmax")), ("LANES", emit.target.lanes)),
            f"f32_{site.op.name}__{emit.target.isa}",
        )
        nbytes = 2 * type_.nbytes(emit.batch)
        return [Step(site.name, spec, (x.address, out.address, *sizes), nbytes=nbytes)]


def _over_channels(site: Site) -> bool:
    """Whether the scores of one pixel compete, as they lie side by side in an image."""
    (x,) = site.in_types
    return nhwc(x).image is not None and site.op.axis % x.rank == 1  # type: ignore[attr-defined]
