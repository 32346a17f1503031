"""pad."""

from __future__ import annotations

from nbcnn.kernels import pad
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import streamed
from nbcnn.kernels.cuda.resample import resample
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget


class PadPixels(pad.PadPixels[CudaTarget]):
    """Padding of the axes behind the channels."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        taps, value = self.taps(site), site.op.value  # type: ignore[attr-defined]
        return resample(site, ins[0], outs[0], taps, value, emit) if taps else []


class PadAround(pad.PadAround[CudaTarget]):
    """A constant around any axes behind the batch."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target, launches=2)
