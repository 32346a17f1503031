"""Transposed convolutions in float32, on any GPU: a matrix product for each phase of the stride.

The outputs o = r + s*q of one phase r, 0 <= r < s, gather what reaches them by the taps u with r + p - u*d
divisible by s; tap u of output q reads input q + (r + p - u*d) / s. Those are s / gcd(s, d) apart, and read
inputs d / gcd(s, d) apart: backwards, an ordinary convolution of stride 1 whose results stand s apart
(Dumoulin, Visin, arXiv:1603.07285, section 4). No product is wasted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from nbcnn.ir.graph import Node
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import CudaKernel
from nbcnn.kernels.cuda.simt_conv import PIXELS, accepts, cost
from nbcnn.kernels.cuda.simt_product import MOST_GROUPS, product_steps, shared_groups
from nbcnn.kernels.cuda.simt_tiles import Tile
from nbcnn.kernels.cuda.simt_window import POINT, Axis, Filters, Place, Window
from nbcnn.kernels.layouts import Layout, View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.conv_transpose import TRANSPOSED, ConvTranspose
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget


@dataclass(frozen=True)
class Phase:
    """Outputs ``first``, ``first`` + stride, ... of one axis: a window, and the tap that each of its is."""

    first: int
    axis: Axis
    taps: tuple[int, ...]


@dataclass(frozen=True)
class SimtConvTranspose(CudaKernel):
    """Over one to three axes, of any stride, dilation and number of groups."""

    tile: Tile | None = None
    name = "simt_conv_transpose"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, *TRANSPOSED)
        if isinstance(found, str):
            return found
        groups = _op(found[0]).groups
        window = Window((POINT, POINT, POINT), *_channels(site, found[0]), groups)
        if groups // shared_groups(window) > MOST_GROUPS:
            return f"{groups} groups are more than a launch takes"
        return None

    def cost(self, site: Site, target: CudaTarget) -> float:
        return cost(site, target, site.macs)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        tail = epilogue.matched(site, *TRANSPOSED)[1]
        return accepts(self.reads(site)[slot], site, slot, layout, tail, PIXELS)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        main, tail = epilogue.matched(site, *TRANSPOSED)
        op, residual = _op(main), epilogue.residual_of(site, ins, tail)
        weight, *bias = (site.weight(name) for name in main.weights)
        channels, filters = _channels(site, main)
        steps = []
        for chosen in product(*_phases(site, op)):
            taps = tuple(product(*(phase.taps for phase in chosen)))
            axes = [phase.axis for phase in chosen]
            if not taps:
                axes = [Axis(0, axis.out) for axis in axes]
            window = Window((axes[0], axes[1], axes[2]), channels, filters, op.groups)
            packed = Filters(
                weight,
                bias[0] if bias else None,
                weight.array.shape,
                op.groups,
                transposed=True,
                taps=tuple(tap[-op.rank :] for tap in taps),
            )
            out, added = (_place(view, site, op, chosen) if view else None for view in (outs[0], residual))
            assert out is not None
            steps += product_steps(site, window, packed, ins[0], out, added, tail, emit, self.tile)
        return steps


def _op(main: Node) -> ConvTranspose:
    assert isinstance(main.op, ConvTranspose)
    return main.op


def _channels(site: Site, main: Node) -> tuple[int, int]:
    """Channels and filters of a group."""
    op = _op(main)
    return int(site.in_types[0].shape[1]) // op.groups, op.channels // op.groups


def phases(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> list[Phase]:
    """The phases of one axis; ``before`` outputs are cut off its begin.

    A phase that no tap reaches has none, and a window of one over no inputs.
    """
    common = math.gcd(stride, dilation)
    found = []
    for r in range(min(stride, out)):
        taps = [u for u in range(kernel) if (r + before - u * dilation) % stride == 0]
        count = -(-(out - r) // stride)
        if taps:
            lowest = (r + before - taps[-1] * dilation) // stride  # the input that the last tap reads first
            axis = Axis(size, count, len(taps), 1, dilation // common, -lowest)
        else:
            axis = Axis(0, count)
        found.append(Phase(r, axis, tuple(reversed(taps))))
    return found


def _phases(site: Site, op: ConvTranspose) -> tuple[list[Phase], ...]:
    """Those of depth, rows and columns; an image has one plane, a signal one row."""
    size, out = site.in_types[0].extents()[2:], site.out_types[0].extents()[2:]
    pads = op.pads(site.in_types[0])[: op.rank]
    numbers = zip(size, out, op.kernel, op.stride, op.dilation, pads, strict=True)
    missing = [[Phase(0, POINT, (0,))] for _ in range(3 - op.rank)]
    return (*missing, *(phases(*n) for n in numbers))


def _place(view: View, site: Site, op: ConvTranspose, chosen: tuple[Phase, ...]) -> Place:
    """Where the results of a phase lie."""
    _, rows, columns = (*(1 for _ in range(3 - op.rank)), *site.out_types[0].extents()[2:])
    depth_by, rows_by, columns_by = (*(1 for _ in range(3 - op.rank)), *op.stride)
    row = columns * view.pitch
    plane = rows * row
    d, h, w = (phase.first for phase in chosen)
    offset = d * plane + h * row + w * view.pitch
    return Place(view, columns_by * view.pitch, rows_by * row, depth_by * plane, offset)
