"""Convolutions and dense layers in float32, on any GPU, as implicit matrix products: ``simt/conv.py``.

* ``simt_conv``: any convolution of a signal, an image or a volume;
* ``simt_dense``: a fully connected layer, also on an image that was flattened without being moved: that is
  a convolution whose kernel covers the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbcnn.ir.graph import Node
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import CudaKernel
from nbcnn.kernels.cuda.simt_product import MOST_GROUPS, product_steps, shared_groups
from nbcnn.kernels.cuda.simt_tiles import Tile
from nbcnn.kernels.cuda.simt_window import POINT, Axis, Filters, Place, Window
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import Layout, View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.conv import CONVS, Conv
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

MULTIPLIED, MOVED, LAUNCHED = 1.8e13, 2.5e12, 3e-6
"""Products and bytes in a second, seconds of a launch: to rank kernels, not to predict."""

PIXELS = ("nhwc", "pixels4")
"""Layouts of images that the kernels read."""


@dataclass(frozen=True)
class SimtConv(CudaKernel):
    """Any convolution; ``tile`` other than the rules would choose."""

    tile: Tile | None = None
    name = "simt_conv"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, *CONVS)
        if isinstance(found, str):
            return found
        window = window_of(site, found[0])
        if window.groups // shared_groups(window) > MOST_GROUPS:
            return f"{window.groups} groups are more than a launch takes"
        return None

    def cost(self, site: Site, target: CudaTarget) -> float:
        main, _ = epilogue.matched(site, *CONVS)
        return cost(site, target, site.macs * shared_groups(window_of(site, main)))

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        tail = epilogue.matched(site, *CONVS)[1]
        return accepts(self.reads(site)[slot], site, slot, layout, tail, PIXELS)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        main, tail = epilogue.matched(site, *CONVS)
        window, residual = window_of(site, main), epilogue.residual_of(site, ins, tail)
        shape = (window.filters * window.groups, window.channels, *main.op.kernel)  # type: ignore[attr-defined]
        filters = filters_of(site, main, shape)
        out, added = Place.of(outs[0], window), Place.of(residual, window) if residual else None
        return product_steps(site, window, filters, ins[0], out, added, tail, emit, self.tile)


@dataclass(frozen=True)
class SimtDense(CudaKernel):
    """A fully connected layer on rows, or on an image that lies as it was before it was flattened."""

    tile: Tile | None = None
    name = "simt_dense"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, "dense")
        return found if isinstance(found, str) else None

    def cost(self, site: Site, target: CudaTarget) -> float:
        return cost(site, target, site.macs)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        tail = epilogue.matched(site, "dense")[1]
        return accepts(self.reads(site)[slot], site, slot, layout, tail, PIXELS)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        main, tail = epilogue.matched(site, "dense")
        c, h, w = ins[0].layout.image  # type: ignore[misc]
        features = site.out_types[0].extents()[1]
        window = Window((POINT, Axis(h, 1, h), Axis(w, 1, w)), c, features)
        residual = epilogue.residual_of(site, ins, tail)
        out, added = Place.of(outs[0], window), Place.of(residual, window) if residual else None
        filters = filters_of(site, main, (features, c, h, w))
        return product_steps(site, window, filters, ins[0], out, added, tail, emit, self.tile)


def accepts(
    wanted: Layout, site: Site, slot: int, layout: Layout, tail: Epilogue, kinds: tuple[str, ...]
) -> bool:
    """Whether an operand may lie as ``layout``: the first as any of ``kinds``, unless it is added, too."""
    if slot > 0 or tail.residual == site.data[0]:  # what is added must lie as the result does
        return layout == wanted
    return layout.kind in kinds


def cost(site: Site, target: CudaTarget, macs: int) -> float:
    """Estimated seconds at batch 1."""
    moved = target.size * sum(t.elements(1) for t in (*site.in_types, *site.out_types))
    moved += sum(w.type.nbytes() for _, w in site.weights)
    return macs / MULTIPLIED + moved / MOVED + LAUNCHED


def window_of(site: Site, main: Node) -> Window:
    """The window of the convolution ``main`` of a site."""
    op = main.op
    assert isinstance(op, Conv)
    x = site.in_types[0]
    size, out, before = x.extents()[2:], site.out_types[0].extents()[2:], op.pads(x)[: op.rank]
    numbers = zip(size, out, op.kernel, op.stride, op.dilation, before, strict=True)
    depth, rows, columns = (*(POINT for _ in range(3 - op.rank)), *(Axis(*n) for n in numbers))
    channels = int(x.shape[1])
    return Window((depth, rows, columns), channels // op.groups, op.channels // op.groups, op.groups)


def filters_of(site: Site, main: Node, shape: tuple[int, ...]) -> Filters:
    """The weights of ``main``, a convolution or dense node of the site's body."""
    weight, *bias = (site.weight(name) for name in main.weights)
    groups, flip = getattr(main.op, "groups", 1), getattr(main.op, "flip", False)
    return Filters(weight, bias[0] if bias else None, shape, groups, flip)
