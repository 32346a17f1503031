"""arg_max and arg_min: the class of each pixel of a segmentation, or of each row of scores."""

from __future__ import annotations

import math

from nbcnn.kernels.base import PLAIN, Emit, Kernel, Layout, Site, Step, View, nhwc
from nbcnn.kernels.orders import Axis, reduced_loops
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class ArgExtremum(Kernel):
    """Along the channels of an image as it lies, or any axis of a value in its plain order; writes int64."""

    name = "arg"
    takes_indices = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name not in ("arg_max", "arg_min"):
            return f"{site.op.name} finds no index"
        (x,) = site.in_types
        if x.dtype != "float32":
            return f"it compares {x.dtype}"
        return None if _axis(site) else "it compares images of the batch"

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN,)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout == PLAIN or (_axis(site) == 1 and layout == nhwc(site.in_types[0]))

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN,)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (source,), (target,), (x,) = ins, outs, site.in_types
        loops = reduced_loops(x, (_axis(site),), source, target, emit.batch)
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


def _axis(site: Site) -> int:
    return site.op.axis % site.in_types[0].rank  # type: ignore[attr-defined]
