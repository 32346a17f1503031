"""Winograd's convolutions: what all algorithms share. Which there are: ``winograd_family``.

The more outputs a tile has, the fewer products it takes and the more weights: 36 for 9 of F(4x4, 3x3), 16 of
F(2x2, 3x3). Weights are read from memory in each inference, while products go on: that is what 14x14 and 7x7
planes wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import estimates, packing
from nbcnn.kernels.cpu.tiles import choose_tile
from nbcnn.kernels.cpu.toom_cook import Algorithm
from nbcnn.kernels.layouts import F32, Address, Buffer, View, empty_aligned, round_up
from nbcnn.kernels.steps import Step
from nbcnn.ops.conv2d import Conv2d
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MIN_CHANNELS = 16
"""Below, the transforms take longer than what they save, and too few terms hide their rounding errors."""

PRODUCTS = 7.4e9
"""Multiply-adds in a second and a lane."""

START = 8
"""What beginning and ending a block of the product costs, in steps of its reduction."""

FETCHED = 32e9
"""Bytes of U in a second from memory: prefetching hides all but an eighth of the products or the fetching,
whichever is shorter."""

LONG_CHUNK = 48
"""Tiles in a chunk where U is so large that each chunk must fetch it from afar."""

SET_PAD = 16
"""Floats after each point of V and each tile of M, so that not all fall into the same set of a cache."""


def pack(
    weight: Weight, flip: bool, rows: Algorithm, columns: Algorithm, nr: int, store: Store
) -> np.ndarray:
    """Filters [O, C, KH, KW] as U [ceil(O/nr), points, C, nr]: G g G^T in float64, rounded once."""

    def make() -> np.ndarray:
        filters = weight.array[:, :, ::-1, ::-1] if flip else weight.array
        out, depth, taps = *filters.shape[:2], rows.taps * columns.taps
        both_ways = np.kron(np.array(rows.filter), np.array(columns.filter))  # [points, taps]
        packed = empty_aligned((-(-out // nr), len(both_ways), depth, nr), np.float32)
        spread = np.zeros((taps, depth, nr))
        for p, panel in enumerate(packed):  # small enough to stay in cache
            part = filters[p * nr : (p + 1) * nr].reshape(-1, depth, taps)
            spread[:, :, : len(part)] = part.transpose(2, 1, 0)
            spread[:, :, len(part) :] = 0
            panel[...] = (both_ways @ spread.reshape(taps, -1)).reshape(panel.shape)
        return packed

    return store.get(("weights", "winograd", weight, flip, rows, columns, nr), make)


@dataclass(frozen=True)
class Shape:
    """The sizes of one convolution in tiles."""

    points: int
    channels: int
    filters: int
    tiles: int
    """of one image"""
    block: tuple[int, int, int]
    """MR, NV, UNROLL"""
    lanes: int

    @classmethod
    def of(cls, rows: Algorithm, columns: Algorithm, site: Site, target: Target) -> Shape:
        channels = int(site.in_types[0].shape[1])
        filters, height, width = (int(n) for n in site.out_types[0].shape[1:])
        tiles = -(-height // rows.outputs) * -(-width // columns.outputs)
        block = choose_tile(tiles, filters, channels, 1, target.lanes, target.registers)
        return cls(rows.size * columns.size, channels, filters, tiles, block, target.lanes)

    @property
    def nr(self) -> int:
        """Output channels in a panel."""
        return self.block[1] * self.lanes

    @property
    def width(self) -> int:
        """Floats of a tile at one point of V."""
        return round_up(self.channels, self.lanes)

    @property
    def u_bytes(self) -> int:
        return F32 * self.points * self.channels * round_up(self.filters, self.nr)

    def capacity(self, batch: int, target: Target) -> int:
        """Tiles in a chunk: its V fills half of L2, or more where U takes long to fetch."""
        fitting = target.l2 // 2 // (F32 * self.points * self.width)
        fitting = max(fitting, min(LONG_CHUNK, LONG_CHUNK * 4 * self.u_bytes // target.l3))
        mr, tiles = self.block[0], batch * self.tiles
        chunks = max(round(tiles / max(fitting, mr)), 1)
        return round_up(-(-tiles // chunks), mr)

    def sizes(self, capacity: int) -> tuple[int, int, int]:
        """Floats of V at one point, of M in one tile, of the scratch of a part: see ``code/winograd.py``."""
        point, product = capacity * self.width + SET_PAD, self.points * self.nr + SET_PAD
        return point, product, self.points * point + max(capacity * product, self.points * self.width)


class Winograd(Kernel):
    """Tiles of outputs by ``down`` along the columns and ``across`` along the rows."""

    down: ClassVar[Algorithm]
    across: ClassVar[Algorithm]
    transformed: ClassVar[float]
    """Floats of V and M that are made and read in a second and a lane."""

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if not options.winograd:
            return "the option winograd is off"
        found = epilogue.parse(site, "conv2d")
        if isinstance(found, str):
            return found
        conv: Conv2d = found[0].op  # type: ignore[assignment]
        kernel = (self.down.taps, self.across.taps)
        stride = (self.down.stride, self.across.stride)
        if (conv.kernel, conv.stride, conv.dilation) != (kernel, stride, (1, 1)):
            return f"it is not a {kernel[0]}x{kernel[1]} convolution of stride {stride[0]}, undilated"
        if conv.groups != 1:
            return "it is grouped"
        channels = int(site.in_types[0].shape[1])
        if channels < MIN_CHANNELS:
            return f"{channels} input channels: below {MIN_CHANNELS} the transforms cost too much"
        return None

    def cost(self, site: Site, target: Target) -> float:
        shape = Shape.of(self.down, self.across, site, target)
        rows, columns = round_up(shape.tiles, shape.block[0]), round_up(shape.filters, shape.nr)
        products = shape.points * rows * (shape.channels + START) * columns / (PRODUCTS * target.lanes)
        moved = shape.points * shape.tiles * (shape.width + columns)
        fetching = shape.u_bytes / FETCHED
        together = max(products, fetching) + min(products, fetching) / 8
        _, tail = epilogue.matched(site, "conv2d")
        activated = estimates.activated(site.out_types[0], tail, target)
        return estimates.CALL + together + moved / (self.transformed * target.lanes) + activated

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, tail = epilogue.matched(site, "conv2d")
        conv: Conv2d = main.op  # type: ignore[assignment]
        target, store, batch = emit.target, emit.store, emit.batch
        shape = Shape.of(self.down, self.across, site, target)
        (mr, nv, unroll), nr = shape.block, shape.nr
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        h, w = site.in_types[0].extents()[2:]
        oh, ow = site.out_types[0].extents()[2:]
        top, left, _, _ = conv.pads(site.in_types[0])
        weights = [site.weight(name) for name in main.weights]
        u = pack(weights[0], conv.flip, self.down, self.across, nr, store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, shape.filters, nr, store)
        capacity, areas = shape.capacity(batch, target), emit.options.threads or 1
        point, product, area = shape.sizes(capacity)
        scratch = Buffer(f"{site.name}.winograd", F32 * areas * area, purpose="scratch")
        args = (
            a.address,
            out.address,
            residual.address if residual else 0,
            u,
            bias,
            Address(scratch),
            areas,
            *(batch, h, w, oh, ow, top, left),
            *(shape.channels, shape.width, round_up(shape.filters, target.lanes), capacity),
            *(a.pitch, out.pitch, residual.pitch if residual else 0),
            *(a.image_stride, out.image_stride, residual.image_stride if residual else 0),
            *tail.args,
            *(point, product, area),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.winograd:make",
            (
                ("TILE_Y", self.down.outputs),
                ("TAPS_Y", self.down.taps),
                ("STRIDE_Y", self.down.stride),
                ("TILE_X", self.across.outputs),
                ("TAPS_X", self.across.taps),
                ("STRIDE_X", self.across.stride),
                ("MR", mr),
                ("NV", nv),
                ("LANES", target.lanes),
                ("ACT", tail.code),
                ("RES", tail.order),
                ("UNROLL", unroll),
            ),
            f"f32_{self.name}_{mr}x{nr}{tail.label}__{target.isa}",
        )
        nbytes = u.nbytes + F32 * batch * (a.image_stride + out.image_stride)
        return [Step(site.name, spec, args, site.macs * batch, nbytes)]
