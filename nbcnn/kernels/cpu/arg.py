"""arg_max and arg_min: the class of each pixel of a segmentation, or of each row of scores."""

from __future__ import annotations

import math

from nbcnn.kernels import arg
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.layouts import PLAIN, View
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class ArgExtremum(arg.ArgExtremum[Target]):
    """arg_max and arg_min."""

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (source,), (target,), (x,) = ins, outs, site.in_types
        loops = self.loops(site, source, target, emit.batch)
        along = loops.reduced[0] if loops.reduced else Axis(1, 0, 0)
        kept = loops.kept or [Axis(1, 0, 0)]
        args = (
            *(source.address, target.address, math.prod(a.extent for a in kept), len(kept)),
            *(loops.inner.extent, along.extent, along.source),
            loops.inner.extent if source.layout == PLAIN else source.pitch,
            *(word for a in reversed(kept) for word in (a.extent, a.source, a.target)),
        )
        way = "across" if loops.across else "along"
        last = int(site.op.last)  # type: ignore[attr-defined]
        spec = KernelSpec(
            f"nbcnn.kernels.cpu.code.arg:make_{way}",
            (("LAST", last), ("SIGN", 1 if site.op.name == "arg_max" else -1), ("LANES", emit.target.lanes)),
            f"f32_{site.op.name}_{way}__{emit.target.isa}",
        )
        nbytes = sum(t.nbytes(emit.batch) for t in (x, *site.out_types))
        return [Step(site.name, spec, args, nbytes=nbytes)]
