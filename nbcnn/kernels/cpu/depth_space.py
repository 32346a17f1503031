"""depth_to_space and space_to_depth."""

from __future__ import annotations

from nbcnn.kernels import depth_space
from nbcnn.kernels.base import Site
from nbcnn.target import Target


class DepthSpace(depth_space.DepthSpace[Target]):
    """Blocks of b by b points as channels, and back."""

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10
