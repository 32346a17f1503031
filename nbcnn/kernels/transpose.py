"""transpose: a copy between two orders of axes, or none where the value only has to be read otherwise.

[N, C, H, W] in NHWC with whole vectors of channels *is* [N, H, W, C] in its plain order, and back:
networks that were written for the other order pay nothing for it.
"""

from __future__ import annotations

from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc, round_up
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep, Step
from nbcnn.options import CompileOptions


class Transpose(Kernel[AnyTarget]):
    """Any order of the axes behind the batch; also of a value that lies as the image it was made from."""

    name = "transpose"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "transpose":
            return f"{site.op.name} is no transpose"
        return "it moves the batch" if site.op.perm[0] != 0 else None  # type: ignore[attr-defined]

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        if layout.kind not in ("plain", "nhwc"):
            return False
        return (
            self._axes(
                site, orders.nominal(layout, site.in_types[0]), orders.nominal(PLAIN, site.out_types[0])
            )
            is not None
        )

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """As the same image if its pixels stay where they are (channel shuffle); else so that the axis whose
        elements follow each other stays that one, as channels or as the last axis, where that is possible."""
        (layout,), (result,) = ins, site.out_types
        if layout.kind == "nhwc":
            view = orders.nominal(layout, result)
            axes = self._axes(site, view, view)
            if axes is not None and all(a.source == a.target for a in axes if a.source >= orders.FAR):
                return (layout,)
        perm = site.op.perm  # type: ignore[attr-defined]
        fast = perm.index(len(perm) - 1 if layout == PLAIN else 1)
        compact = orders.layout_for(result, (PLAIN,))
        if fast == 1 and result.extents()[1] >= orders.FEW_CHANNELS:
            return (nhwc(result),)
        return (PLAIN if layout == PLAIN or fast == len(perm) - 1 else compact,)

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        (source,), (result,) = ins, site.out_types
        natural = nhwc(result)
        plain = orders.nominal(PLAIN, result)
        candidates = [View(source.buffer, PLAIN, plain.pitch, plain.image_stride, source.offset)]
        if source.buffer.place == "arena" and natural.image is not None:
            c, h, w = natural.image
            pitch = round_up(c, target.lanes)
            stride = h * w * pitch
            candidates.append(View(source.buffer, natural, pitch, stride, source.offset, target.size))
        for view in candidates:
            axes = self._axes(site, source, view, batch=2)
            if view.size == source.size and axes is not None and orders.in_place(axes):
                return (view,)
        return (None,)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        if outs[0].buffer is ins[0].buffer:
            return []
        axes = self._axes(site, ins[0], outs[0], emit.batch)
        assert axes is not None
        return emit.backend.move(site.name, ins[0], outs[0], axes, emit)

    def _axes(self, site: Site, source: View, target: View, batch: int = 1) -> list[Axis] | None:
        """The loops from ``source`` to ``target``; None where an axis is cut across by a layout."""
        a = orders.axes_of(source, site.in_types[0].extents()[1:])
        b = orders.axes_of(target, site.out_types[0].extents()[1:])
        if a is None or b is None:
            return None
        order = site.op.perm[1:]  # type: ignore[attr-defined]
        strides = (source.image_stride, target.image_stride)
        return orders.matched([a[p - 1] for p in order], b, batch, strides)
