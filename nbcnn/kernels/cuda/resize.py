"""resize."""

from __future__ import annotations

from nbcnn.kernels import resize
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import streamed
from nbcnn.kernels.cuda.resample import resample
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget


class Resize(resize.Resize[CudaTarget]):
    """All axes in one launch: what lies between them is never rounded."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        taps, beyond = self.taps(site), site.op.extrapolation  # type: ignore[attr-defined]
        return resample(site, ins[0], outs[0], taps, beyond, emit) if taps else []
