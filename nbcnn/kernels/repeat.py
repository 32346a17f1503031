"""expand and tile: axes that are read again and again while the result is written once."""

from __future__ import annotations

from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import Layout, View
from nbcnn.kernels.steps import DeviceStep, Step
from nbcnn.options import CompileOptions


class Repeat(Kernel[AnyTarget]):
    """expand and tile of any axes behind the batch."""

    name = "repeat"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name not in ("expand", "tile"):
            return f"{site.op.name} repeats nothing"
        (x,), (y,) = site.in_types, site.out_types
        if x.rank != y.rank:
            return "it puts axes before the batch"
        repeats = getattr(site.op, "repeats", (1,))
        return "it repeats the batch" if repeats[0] != 1 else None

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[0], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (orders.layout_for(site.out_types[0], ins),)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        (source,), (target,) = ins, outs
        shapes = [t.extents()[1:] for t in (site.in_types[0], site.out_types[0])]
        a, b = (orders.axes_of(view, shape) for view, shape in zip((source, target), shapes, strict=True))
        assert a is not None and b is not None
        again = [
            [(big // small, 0), *strides] if big > small else strides
            for strides, small, big in zip(a, *shapes, strict=True)
        ]
        axes = orders.matched(again, b, emit.batch, (source.image_stride, target.image_stride))
        assert axes is not None
        return emit.backend.move(site.name, source, target, axes, emit)
