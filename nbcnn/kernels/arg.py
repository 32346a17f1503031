"""arg_max and arg_min: what the records of every target share."""

from __future__ import annotations

from nbcnn.kernels.base import AnyTarget, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc
from nbcnn.kernels.orders import Loops, reduced_loops
from nbcnn.options import CompileOptions


class ArgExtremum(Kernel[AnyTarget]):
    """Along the channels of an image as it lies, or any axis of a value in its plain order; writes int64."""

    name = "arg"
    takes_indices = True

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name not in ("arg_max", "arg_min"):
            return f"{site.op.name} finds no index"
        (x,) = site.in_types
        if x.dtype != "float32":
            return f"it compares {x.dtype}"
        return None if _axis(site) else "it compares images of the batch"

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN,)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout == PLAIN or (_axis(site) == 1 and layout == nhwc(site.in_types[0]))

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN,)

    def loops(self, site: Site, source: View, target: View, batch: int) -> Loops:
        """What stays and what goes."""
        return reduced_loops(site.in_types[0], (_axis(site),), source, target, batch)


def _axis(site: Site) -> int:
    return site.op.axis % site.in_types[0].rank  # type: ignore[attr-defined]
