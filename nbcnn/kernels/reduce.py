"""Reductions along any axes but the batch: what the records of every target share."""

from __future__ import annotations

from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View
from nbcnn.kernels.orders import Loops, reduced_loops
from nbcnn.options import CompileOptions

MOST_REDUCED = 2
"""Stretches of axes that may go, beside a contiguous one."""


class Reduce(Kernel[AnyTarget]):
    """The Reduce operators; the axes that go may be anywhere, in up to two stretches and a contiguous one."""

    name = "reduce"

    known: frozenset[str]
    """Names of the operators."""

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name not in self.known:
            return f"{site.op.name} is no reduction that is vectorised"
        (x,) = site.in_types
        if 0 in along(site):
            return "it reduces the batch"
        view = orders.nominal(PLAIN, x)
        reduced = self.loops(site, view, view, 1).reduced
        return None if len(reduced) <= MOST_REDUCED else "it reduces too many separate axes"

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[0], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """As the operand lies while channels stay; what has lost them is compact in its plain order."""
        plain = ins[0] == PLAIN or 1 in along(site)
        return (PLAIN,) if plain else (orders.layout_for(site.out_types[0], ins),)

    def loops(self, site: Site, source: View, target: View, batch: int) -> Loops:
        """What stays and what goes."""
        return reduced_loops(site.in_types[0], along(site), source, target, batch)


def along(site: Site) -> tuple[int, ...]:
    """The axes that go."""
    return site.op.along(site.in_types[0])  # type: ignore[attr-defined]
