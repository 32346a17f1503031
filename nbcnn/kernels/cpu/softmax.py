"""Softmax over the channels of each pixel or row."""

from __future__ import annotations

from nbcnn.kernels.base import Emit, Kernel, Site, Step, View, nhwc
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Softmax(Kernel):
    """softmax over the channel axis."""

    name = "softmax"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "softmax":
            return f"{site.op.name} is no softmax"
        rank = site.in_types[0].rank
        if nhwc(site.in_types[0]).image is None or site.op.axis % rank != 1:  # type: ignore[attr-defined]
            return "only the channel axis of [N, C, H, W] and [N, F] is vectorised"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-9

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        c, h, w = ins[0].layout.image  # type: ignore[misc]
        args = (ins[0].address, out.address, emit.batch * h * w, c, ins[0].pitch, out.pitch)
        lanes = emit.target.lanes
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.softmax:make",
            (("LANES", lanes),),
            f"f32_softmax__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=2 * site.in_types[0].nbytes(emit.batch))]
