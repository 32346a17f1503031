"""pad: pixels put around images or cut off them, in every mode; a constant around anything else."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels import orders
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep, Step
from nbcnn.kernels.taps import Taps
from nbcnn.ops.pad import Pad as Op
from nbcnn.options import CompileOptions


class PadPixels(Kernel[AnyTarget]):
    """Padding of the axes behind the channels: each pixel of the result is one of the image, or the value."""

    name = "pad"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "pad":
            return f"{site.op.name} is no pad"
        (x,) = site.in_types
        if nhwc(x).image is None or x.rank < 3:
            return "only images are padded by pixels"
        op: Op = site.op  # type: ignore[assignment]
        return None if min(op.around(x), default=2) >= 2 else "it pads channels"

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        return ins if site.op.nothing else (None,)  # type: ignore[attr-defined]

    def taps(self, site: Site) -> dict[int, Taps]:
        """What the points of each axis that is padded are, by axes counted from 0 behind the channels."""
        (x,), op = site.in_types, site.op
        around = op.around(x)  # type: ignore[attr-defined]
        return {a - 2: _taps(int(x.shape[a]), *pair, op.mode) for a, pair in around.items()}  # type: ignore[attr-defined]


class PadAround(Kernel[AnyTarget]):
    """A constant around any axes behind the batch: written everywhere, then the operand over it."""

    name = "pad_around"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "pad":
            return f"{site.op.name} is no pad"
        op: Op = site.op  # type: ignore[assignment]
        if op.mode != "constant" or min(op.padding) < 0:
            return "only a constant is put around channels, and nothing cut off them"
        return "it pads the batch" if 0 in op.around(site.in_types[0]) else None

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return orders.ordinary(site.in_types[0], layout)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (orders.layout_for(site.out_types[0], ins),)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | DeviceStep]:
        (source,), (target,), op = ins, outs, site.op
        shapes = [t.extents()[1:] for t in (site.in_types[0], site.out_types[0])]
        a, b = (orders.axes_of(view, shape) for view, shape in zip((source, target), shapes, strict=True))
        assert a is not None and b is not None
        value = op.value  # type: ignore[attr-defined]
        constant = emit.store.get(("tables", "value", value), lambda: np.array([value], np.float32))
        fill = View(Buffer("value", 4, "constant", array=constant), PLAIN, 0, 0)
        everywhere = [Axis(emit.batch, 0, target.image_stride), *(Axis(n, 0, t) for s in b for n, t in s)]
        inside, offset = b, 0
        for axis, (before, _) in op.around(site.in_types[0]).items():  # type: ignore[attr-defined]
            inside, further = orders.part(inside, axis - 1, before, shapes[0][axis - 1])
            offset += further
        axes = orders.matched(a, inside, emit.batch, (source.image_stride, target.image_stride))
        assert axes is not None
        return [
            *emit.backend.move(site.name, fill, target, everywhere, emit),
            *emit.backend.move(site.name, source, target, axes, emit, (0, offset)),
        ]


def _taps(extent: int, before: int, behind: int, mode: str) -> Taps:
    """The pixel that each point of a padded axis is; -1 for the value."""
    index = np.arange(extent)[max(-before, 0) : extent - max(-behind, 0)]
    put = (max(before, 0), max(behind, 0))
    if mode == "constant":
        return Taps.of(np.pad(index, put, constant_values=-1))
    return Taps.of(np.pad(index, put, mode=mode))  # type: ignore[call-overload]
