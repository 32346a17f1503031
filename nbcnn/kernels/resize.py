"""resize of signals, images and volumes: nearest, linear, cubic, all that the operator knows."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels.base import AnyTarget, Kernel, Site
from nbcnn.kernels.layouts import View, nhwc
from nbcnn.kernels.taps import Taps
from nbcnn.ops.resize import Resize as Op
from nbcnn.options import CompileOptions


class Resize(Kernel[AnyTarget]):
    """Pixels made of pixels; a resize that changes nothing costs nothing."""

    name = "resize"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "resize":
            return f"{site.op.name} is no resize"
        op: Op = site.op  # type: ignore[assignment]
        (x,) = site.in_types
        if nhwc(x).image is None or x.rank < 3:
            return "only images are vectorised"
        return None if min(op.plan(x), default=2) >= 2 else "it resizes channels"

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        same = not site.op.plan(site.in_types[0])  # type: ignore[attr-defined]
        return ins if same else (None,)

    def taps(self, site: Site) -> dict[int, Taps]:
        """What the points of each axis that is resized are made of, by axes counted from 0 behind the
        channels."""
        op: Op = site.op  # type: ignore[assignment]
        taps = {}
        for axis, resized in op.plan(site.in_types[0]).items():
            index, weight, outside = op.taps(resized)
            if outside is not None:
                index = np.where(outside[:, None], -1, index)
            taps[axis - 2] = Taps(index, weight)
        return taps
