"""Softmax and its logarithm."""

from __future__ import annotations

from nbcnn.kernels import softmax
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Softmax(softmax.Softmax[Target]):
    """softmax and log_softmax."""

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-9

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (x,), (out,), (type_,) = ins, outs, site.in_types
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.softmax:make",
            (("LOG", int(site.op.name == "log_softmax")), ("LANES", emit.target.lanes)),
            f"f32_{site.op.name}__{emit.target.isa}",
        )
        args = (x.address, out.address, *self.rows(site, x, out, emit))
        return [Step(site.name, spec, args, nbytes=2 * type_.nbytes(emit.batch))]
