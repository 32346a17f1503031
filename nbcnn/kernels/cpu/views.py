"""Operators that move nothing where they can: other shapes, concatenation, split, slice."""

from __future__ import annotations

from nbcnn.kernels import views
from nbcnn.kernels.base import Site
from nbcnn.kernels.cpu import estimates
from nbcnn.target import Target

Alias = views.Alias


class Concat(views.Concat[Target]):
    """Concatenation."""

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=5.3e-12)


class Parts(views.Parts[Target]):
    """split and slice."""

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=3e-12)
