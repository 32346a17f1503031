"""resize of signals, images and volumes: nearest, linear, cubic, all that the operator knows."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels.base import Emit, Kernel, Site, Step, View, nhwc
from nbcnn.kernels.cpu.resample import Taps, resample
from nbcnn.ops.resize import Resize as Op
from nbcnn.options import CompileOptions
from nbcnn.target import Target


class Resize(Kernel):
    """Nearest copies pixels, linear blends four in one step; the rest goes axis by axis."""

    name = "resize"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "resize":
            return f"{site.op.name} is no resize"
        op: Op = site.op  # type: ignore[assignment]
        (x,) = site.in_types
        if nhwc(x).image is None or x.rank < 3:
            return "only images are vectorised"
        return None if min(op.plan(x), default=2) >= 2 else "it resizes channels"

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 3e-10

    def within(self, site: Site, ins: tuple[View, ...], target: Target) -> tuple[View | None, ...]:
        same = not site.op.plan(site.in_types[0])  # type: ignore[attr-defined]
        return ins if same else (None,)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        op: Op = site.op  # type: ignore[assignment]
        taps = {}
        for axis, resized in op.plan(site.in_types[0]).items():
            index, weight, outside = op.taps(resized)
            if outside is not None:
                index = np.where(outside[:, None], -1, index)
            taps[axis - 2] = Taps(index, weight)
        return resample(site, ins[0], outs[0], taps, op.extrapolation, emit) if taps else []
