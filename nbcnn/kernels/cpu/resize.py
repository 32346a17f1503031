"""resize."""

from __future__ import annotations

from nbcnn.kernels import resize
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cpu.resample import resample
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import Step
from nbcnn.target import Target


class Resize(resize.Resize[Target]):
    """Nearest copies pixels, linear blends four in one step; the rest goes axis by axis."""

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 3e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        taps, beyond = self.taps(site), site.op.extrapolation  # type: ignore[attr-defined]
        return resample(site, ins[0], outs[0], taps, beyond, emit) if taps else []
