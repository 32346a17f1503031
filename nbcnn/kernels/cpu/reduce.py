"""Reductions along any axes but the batch; see ``code/reduce.py``."""

from __future__ import annotations

import math

from nbcnn.kernels import reduce
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.layouts import F32, View, round_up
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import Float, Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

CODES = {
    "reduce_sum": 0,
    "reduce_mean": 0,
    "reduce_prod": 1,
    "reduce_l1": 2,
    "reduce_sum_square": 3,
    "reduce_l2": 4,
    "reduce_max": 5,
    "reduce_min": 6,
    "reduce_log_sum": 7,
}
"""Operator -> OP of ``code/reduce.py``."""


class Reduce(reduce.Reduce[Target]):
    """The Reduce operators."""

    known = frozenset(CODES)

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (source,), (target,), lanes = ins, outs, emit.target.lanes
        loops = self.loops(site, source, target, emit.batch)
        width, readable = loops.inner.extent, loops.inner.extent
        if source.layout.kind == "nhwc":
            readable = source.pitch
            if loops.across and target.layout.kind == "nhwc":
                width = round_up(width, lanes)
        points = math.prod(a.extent for a in loops.reduced) * (1 if loops.across else loops.inner.extent)
        first, second = [Axis(1, 0, 0)] * (2 - len(loops.reduced)) + loops.reduced
        kept = loops.kept or [Axis(1, 0, 0)]
        mean = site.op.name == "reduce_mean"
        args = (
            *(source.address, target.address, math.prod(a.extent for a in kept), len(kept), width),
            *(first.extent, first.source, second.extent, second.source),
            *(Float(1 / points if mean else 1.0), readable),
            *(word for a in reversed(kept) for word in (a.extent, a.source, a.target)),
        )
        way = "across" if loops.across else "along"
        spec = KernelSpec(
            f"nbcnn.kernels.cpu.code.reduce:make_{way}",
            (("OP", CODES[site.op.name]), ("LANES", lanes)),
            f"f32_{site.op.name}_{way}__{emit.target.isa}",
        )
        touched = site.in_types[0].elements(emit.batch) + site.out_types[0].elements(emit.batch)
        return [Step(site.name, spec, args, nbytes=F32 * touched)]
