"""Convolutions and dense layers as indirect matrix products: one micro-kernel for every geometry.

A row of the product is an output pixel; what it reads is named by a table of offsets, one per tap,
so that stride, dilation and padding cost nothing (Dukhan, "The Indirect Convolution Algorithm",
2019). 1x1 convolutions and dense layers need one block of offsets only. Three kernels share this:

* ``igemm``: any convolution of a signal, an image or a volume in NHWC;
* ``igemm_halo``: first layers of few channels, whose kernel row (KW*C floats) is contiguous in an
  image that lies inside a border of zeros;
* ``dense``: a fully connected layer, also on an image that was flattened without being moved: that
  is a convolution whose kernel covers the plane.
"""

from __future__ import annotations

import math
from dataclasses import replace

from nbcnn.ir.graph import Node
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Rowwise, Site
from nbcnn.kernels.cpu import packing
from nbcnn.kernels.cpu.product import Extent, Filters, Product, Rows, product_step
from nbcnn.kernels.cpu.tiles import choose_share, choose_tile
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import F32, Layout, View, nhwc
from nbcnn.kernels.rows import Walk
from nbcnn.kernels.steps import Step
from nbcnn.ops.conv import CONVS, Conv
from nbcnn.options import CompileOptions
from nbcnn.target import Target

HALO_CHANNELS = 4
"""Images of at most so many channels are read with a border: their vectors would be mostly padding."""


def convolution(site: Site) -> tuple[Conv, Node, Epilogue] | str:
    """The convolution that ``site`` begins with, its node and its epilogue, or why there is none."""
    found = epilogue.parse(site, *CONVS)
    return found if isinstance(found, str) else (found[0].op, *found)  # type: ignore[return-value]


def matched(site: Site) -> tuple[Conv, Node, Epilogue]:
    """`convolution` for a site that is known to have one."""
    found = convolution(site)
    assert not isinstance(found, str), found
    return found


def rows_of(conv: Conv, site: Site) -> Walk:
    """The windows of a convolution along its first axis."""
    (_, _, size, *_), (_, _, out, *_) = site.in_types[0].shape, site.out_types[0].shape
    pads = conv.pads(site.in_types[0])
    numbers = conv.kernel[0], conv.stride[0], conv.dilation[0], pads[0], pads[conv.rank]
    return Walk(int(size), int(out), *numbers)


class IndirectConv(Product, Rowwise):
    """Any convolution of an NHWC signal, image or volume (grouped ones too)."""

    name = "igemm"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = convolution(site)
        return found if isinstance(found, str) else None

    def cost(self, site: Site, target: Target) -> float:
        return self.seconds(site, matched(site)[2], target)

    def extent(self, site: Site) -> Extent:
        conv, _, _ = matched(site)
        channels, result = int(site.in_types[0].shape[1]), site.out_types[0].extents()[2:]
        sizes = conv.channels // conv.groups, channels // conv.groups, math.prod(conv.kernel)
        return Extent(math.prod(result), *sizes, conv.groups)

    def walk(self, site: Site) -> Walk:
        return rows_of(matched(site)[0], site)

    def steps(
        self,
        site: Site,
        ins: tuple[View, ...],
        outs: tuple[View, ...],
        emit: Emit,
        rows: Walk | None = None,
    ) -> list[Step]:
        (out,) = outs
        conv, main, tail = matched(site)
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        rows = rows or self.walk(site)
        c, _, *rest = site.in_types[0].extents()[1:]
        size, result = (rows.size, *rest), (rows.out, *site.out_types[0].extents()[3:])
        k, points, pads = c // conv.groups, math.prod(result), conv.pads(site.in_types[0])
        taps, tile = math.prod(conv.kernel), self.tile_for(site, emit.target)
        mr = tile[0]
        if taps == 1 and set(conv.stride) == {1} and not any(pads):
            offsets = packing.linear_table(mr, a.pitch, (0,), emit.store)
            step = mr * a.pitch
            lines = Rows(offsets, 1, k, emit.batch * points, 1, step, 0, a.pitch)
        else:
            window = packing.Window(
                size,
                result,
                conv.kernel,
                conv.stride,
                conv.dilation,
                (rows.before, *pads[1 : conv.rank]),
                packing.steps_of(size, a.pitch),
            )
            offsets = packing.table(window, mr, emit.store)
            lines = Rows(offsets, taps, k, points, emit.batch, 0, taps * mr)
        share = choose_share(conv.groups, conv.channels // conv.groups, k, emit.target.lanes)
        filters = Filters.of(site, main, (conv.channels, k, *conv.kernel), share)
        return [product_step(site, a, out, residual, lines, filters, tile, tail, emit, self.order)]


class HaloConv(Product, Rowwise):
    """A first layer: few channels, read from an image inside a border of zeros.

    The border of a volume is left and right of its planes only: depth and height are padded by the table.
    """

    name = "igemm_halo"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = convolution(site)
        if isinstance(found, str):
            return found
        conv, _, tail = found
        if tail.residual == site.data[0]:
            return "its input is added to its result, and cannot lie inside a border for that"
        channels = int(site.in_types[0].shape[1])
        if channels > HALO_CHANNELS:
            return f"{channels} input channels: above {HALO_CHANNELS} reading whole vectors is better"
        if conv.groups != 1:
            return "it is grouped"
        if conv.dilation[-1] != 1:
            return "a dilated kernel row is not contiguous"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return self.seconds(site, matched(site)[2], target)

    def extent(self, site: Site) -> Extent:
        conv, _, _ = matched(site)
        *outer, width = conv.kernel
        channels, result = int(site.in_types[0].shape[1]), site.out_types[0].extents()[2:]
        return Extent(math.prod(result), conv.channels, width * channels, math.prod(outer))

    def reads(self, site: Site) -> tuple[Layout, ...]:
        conv, _, _ = matched(site)
        pads = conv.pads(site.in_types[0])
        left, right = pads[conv.rank - 1], pads[-1]
        border = pads if conv.rank == 2 else (0, left, 0, right)
        image = nhwc(site.in_types[0]).image
        return (Layout("halo", image, border), *(nhwc(t) for t in site.in_types[1:]))  # type: ignore[arg-type]

    def walk(self, site: Site) -> Walk:
        conv, _, _ = matched(site)
        rows, layout = rows_of(conv, site), self.reads(site)[0]
        top, _, bottom, _ = layout.pads
        return replace(
            rows, size=rows.size + top + bottom, before=rows.before - top, after=rows.after - bottom
        )

    def steps(
        self,
        site: Site,
        ins: tuple[View, ...],
        outs: tuple[View, ...],
        emit: Emit,
        rows: Walk | None = None,
    ) -> list[Step]:
        (out,) = outs
        conv, main, tail = matched(site)
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        _, c, *size = site.in_types[0].extents(emit.batch)
        _, _, *result = site.out_types[0].extents()
        _, left, _, right = a.layout.pads
        *outer, kw = conv.kernel
        before = [*conv.pads(site.in_types[0])[: conv.rank - 1], 0]
        size[-1] += left + right
        if conv.rank == 2:
            rows = rows or self.walk(site)
            size[0], result[0], before[0] = rows.size, rows.out, rows.before
        taps, points, tile = math.prod(outer), math.prod(result), self.tile_for(site, emit.target)
        window = packing.Window(
            tuple(size),
            tuple(result),
            (*outer, 1),
            conv.stride,
            (*conv.dilation[:-1], 1),
            tuple(before),
            packing.steps_of(tuple(size), a.pitch),
        )
        offsets = packing.table(window, tile[0], emit.store)
        lines = Rows(offsets, taps, kw * c, points, emit.batch, 0, taps * tile[0])
        filters = Filters.of(site, main, (conv.channels, c, *conv.kernel))
        return [product_step(site, a, out, residual, lines, filters, tile, tail, emit, self.order)]


class Dense(Product):
    """A fully connected layer on rows, or on an image that lies as it was before it was flattened."""

    name = "dense"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, "dense")
        return found if isinstance(found, str) else None

    def cost(self, site: Site, target: Target) -> float:
        return self.seconds(site, epilogue.matched(site, "dense")[1], target)

    def extent(self, site: Site) -> Extent:
        features, channels = int(site.in_types[0].shape[1]), site.out_types[0].extents()[1]
        return Extent(1, channels, features, 1)

    def variants(self, site: Site, target: Target) -> tuple[Kernel, ...]:
        streams = F32 * site.macs > target.l3  # from memory, which any tile can
        return () if streams else super().variants(site, target)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        _, tail = epilogue.matched(site, "dense")
        if slot > 0 or tail.residual == site.data[0]:  # what is added must lie as the result does
            return super().accepts(site, slot, layout)
        return layout.kind == "nhwc"

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, tail = epilogue.matched(site, "dense")
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        features, channels = int(site.in_types[0].shape[1]), site.out_types[0].extents()[1]
        c, h, w = a.layout.image  # type: ignore[misc]
        target = emit.target
        if a.pitch == c:  # pixels follow each other without gaps: one long row
            taps, k = (0,), features
        else:
            taps, k = tuple(p * a.pitch for p in range(h * w)), c
        batch = emit.batch
        tile = self.tile or choose_tile(1, channels, k, len(taps), target.lanes, target.registers)
        if batch > 1:  # one packing of the weights serves every batch size
            tile = max((target.registers - 4) // tile[1] - 1, 1), *tile[1:]
        step = tile[0] * a.image_stride
        offsets = packing.linear_table(tile[0], a.image_stride, taps, emit.store, min(batch, tile[0]))
        past = a.image_stride if batch > tile[0] else 0
        rows = Rows(offsets, len(taps), k, batch, 1, step, 0, past)
        filters = Filters.of(site, main, (channels, c, h, w))
        row_out = _as_rows(out)
        row_residual = _as_rows(residual) if residual else None
        return [product_step(site, a, row_out, row_residual, rows, filters, tile, tail, emit)]


def _as_rows(view: View) -> View:
    """The images of a view as rows of a matrix."""
    return View(view.buffer, view.layout, view.image_stride, 0, view.offset)
