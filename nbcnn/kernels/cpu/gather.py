"""gather."""

from __future__ import annotations

from nbcnn.kernels import gather
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import PythonStep, Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Gather(gather.Gather[Target]):
    """Whole rows of values in their plain order."""

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | PythonStep]:
        (x, indices), (out,), target = ins, outs, emit.target
        rows = self.rows(site, emit.batch)
        args = (
            *(x.address, indices.address, out.address, rows.outer, rows.count),
            *(rows.extent, rows.width, rows.extent * rows.width),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.gather:make",
            (("WORD", rows.word), ("LANES", target.lanes)),
            f"f32_gather_i{8 * rows.word}__{target.isa}",
        )
        step = Step(site.name, spec, args, nbytes=8 * site.out_types[0].elements(emit.batch))
        return [*self.checks(site, indices, emit), step]
