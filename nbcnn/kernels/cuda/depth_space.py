"""depth_to_space and space_to_depth."""

from __future__ import annotations

from nbcnn.kernels import depth_space, orders
from nbcnn.kernels.base import Site
from nbcnn.kernels.cuda.base import streamed
from nbcnn.kernels.layouts import PLAIN, Layout, nhwc
from nbcnn.target import CudaTarget


class DepthSpace(depth_space.DepthSpace[CudaTarget]):
    """Blocks of b by b points as channels, and back, from any order to any other."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[0], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """Pixels, unless they would be mostly padding."""
        (type_,) = site.out_types
        return (nhwc(type_) if type_.extents()[1] >= orders.FEW_CHANNELS else PLAIN,)
