"""pad."""

from __future__ import annotations

from nbcnn.kernels import pad
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cpu.resample import resample
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import Step
from nbcnn.target import Target


class PadPixels(pad.PadPixels[Target]):
    """Padding of the axes behind the channels."""

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        taps, value = self.taps(site), site.op.value  # type: ignore[attr-defined]
        return resample(site, ins[0], outs[0], taps, value, emit) if taps else []


class PadAround(pad.PadAround[Target]):
    """A constant around any axes behind the batch."""

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 2e-10
