"""Operators that move nothing where they can: other shapes, concatenation, split, slice."""

from __future__ import annotations

from nbcnn.kernels import views
from nbcnn.kernels.base import Site
from nbcnn.kernels.cuda.base import streamed
from nbcnn.target import CudaTarget

Alias = views.Alias


class Concat(views.Concat[CudaTarget]):
    """Concatenation: a launch for each operand that was not computed in place."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target, len(site.data))


class Parts(views.Parts[CudaTarget]):
    """split and slice."""

    whole_vectors = True

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target, len(site.outputs))
