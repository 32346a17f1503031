"""Reductions along any axes but the batch."""

from __future__ import annotations

from nbcnn.kernels import reduce
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import streamed
from nbcnn.kernels.cuda.reduction import MAX, MEAN, How, reduction_steps
from nbcnn.kernels.layouts import PLAIN, View
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget

HOW = {
    "reduce_sum": How("sum"),
    "reduce_mean": MEAN,
    "reduce_prod": How("prod"),
    "reduce_l1": How("sum", term="abs"),
    "reduce_sum_square": How("sum", term="square"),
    "reduce_l2": How("sum", term="square", end="sqrt"),
    "reduce_max": MAX,
    "reduce_min": How("min"),
    "reduce_log_sum": How("sum", end="log"),
}
"""Operator -> how it reduces."""


class Reduce(reduce.Reduce[CudaTarget]):
    """The Reduce operators."""

    known = frozenset(HOW)

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target, launches=2)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (source,), (target,) = ins, outs
        loops = self.loops(site, source, target, emit.batch)
        kept, reduced, across = loops.kept, loops.reduced, loops.across
        if across:
            kept = [*kept, loops.inner]
        else:
            reduced = [*reduced, loops.inner]
        if target.layout != PLAIN and target.layout.image[0] == 1:  # type: ignore[index]
            kept, across = [*kept, Axis(1, 1, 1)], True  # the channel of each pixel
        return reduction_steps(site, source, target, HOW[site.op.name], kept, reduced, across, emit)
