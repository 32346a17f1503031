"""Winograd's algorithm for 3x3 convolutions: F(4x4, 3x3), and F(2x2, 3x3) for small planes.

F(4x4) needs a quarter of the multiplications, but four times the weights; F(2x2) 1/2.25 of the
former and 1.8 times the latter, and it wastes less where 4 does not divide the plane.

One thread of an AMD Zen 5 (16 lanes, 239 GFLOP/s), ms, each the least of many runs in a row, so that
the weights come from L3; after a slash, all caches emptied before each run:

====================  ===========  ===========  ===========
channels, plane       igemm        F(4x4)       F(2x2)
====================  ===========  ===========  ===========
 64 ->  64, 224x224   16.3         5.54         10.9
 64 -> 128, 112x112    7.74        2.68         4.67
128 -> 128, 112x112   16.4         4.93         9.14
128 -> 256, 56x56      7.99        2.37         4.19
256 -> 256, 56x56     17.7         4.63         10.3
512 -> 512, 14x14      4.20        1.59         2.06
 64 ->  64, 56x56      0.95/1.00   0.30/0.52    0.54/0.71
128 -> 128, 28x28      0.95/1.01   0.28/0.44    0.50/0.60
256 -> 256, 14x14      0.97/1.04   0.38/0.55    0.51/0.62
512 -> 512, 7x7        1.09/1.16   1.02/1.16    0.64/0.83
 16 ->  64, 55x55      0.24/0.26   0.10/0.22    0.16/0.28
 64 -> 256, 13x13      0.22/0.25   0.09/0.16    0.12/0.17
 16 ->  16, 8x8        0.003       0.003        0.003
====================  ===========  ===========  ===========

Of 56x56 and 64 channels 0.24 ms are products at full speed; without them the kernel takes 0.065.
Weights are prefetched one point ahead: 0.39 ms instead of 0.55 at 14x14. Other block sizes than
those of ``tiles`` were slower, by 1 to 25 % for the sensible ones. The length of chunks matters where
U is large: 512 channels at 28x28 take 5.9 ms in chunks of 14 tiles, 5.3 of 28, 4.8 of 49.

Rounding: the transforms enlarge the error of an output of F(4x4), as a root of squares over random
data, by at most 32, that of F(2x2) by 1.7. Bounds leave room for most of that, the more the longer
the sum: from 16 channels on the worst error in units of the bound of a direct product was 0.3 on
normal data, 1.3 on data that span six orders of magnitude; F(2x2) 0.13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import (
    F32,
    Address,
    Buffer,
    Emit,
    Kernel,
    Site,
    Step,
    Store,
    View,
    empty_aligned,
    round_up,
)
from nbcnn.kernels.cpu import epilogue, packing
from nbcnn.kernels.cpu.product import MACS, WEIGHT_BYTES
from nbcnn.kernels.cpu.tiles import choose_tile
from nbcnn.ops.conv2d import Conv2d
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MIN_CHANNELS = 16
"""Below, the transforms take longer than what they save, and too few terms hide their rounding errors."""

TRANSFORMED = 0.6e9
"""Floats of V and M that are written and read, in a second and a lane."""

START = 8
"""What beginning and ending a block of the product costs, in steps of its reduction."""

LONG_CHUNK = 48
"""Tiles in a chunk where U is so large that each chunk must fetch it from afar."""

SET_PAD = 16
"""Floats after each point of V: ``LINE`` of ``code/winograd.py``."""

G = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
"""The transform of three taps, by tile size; B and A, which belong to it, are in ``code/winograd.py``."""


def pack(weight: Weight, flip: bool, tile: int, nr: int, store: Store) -> np.ndarray:
    """Filters [O, C, 3, 3] as U [ceil(O/nr), (tile+2)**2, C, nr]: G g G^T in float64, rounded once."""

    def make() -> np.ndarray:
        filters = weight.array[:, :, ::-1, ::-1] if flip else weight.array
        out, depth = filters.shape[:2]
        both_ways = np.kron(G[tile], G[tile])  # [points, 9]
        packed = empty_aligned((-(-out // nr), len(both_ways), depth, nr), np.float32)
        taps = np.zeros((9, depth, nr))
        for p, panel in enumerate(packed):  # small enough to stay in cache
            part = filters[p * nr : (p + 1) * nr].reshape(-1, depth, 9)
            taps[:, :, : len(part)] = part.transpose(2, 1, 0)
            taps[:, :, len(part) :] = 0
            panel[...] = (both_ways @ taps.reshape(9, -1)).reshape(panel.shape)
        return packed

    return store.get(("weights", "winograd", weight, flip, tile, nr), make)


@dataclass(frozen=True)
class Shape:
    """The sizes of one convolution in tiles."""

    tile: int
    channels: int
    filters: int
    tiles: int
    """of one image"""
    block: tuple[int, int, int]
    """MR, NV, UNROLL"""
    lanes: int

    @classmethod
    def of(cls, tile: int, site: Site, target: Target) -> Shape:
        channels = int(site.in_types[0].shape[1])
        filters, height, width = (int(n) for n in site.out_types[0].shape[1:])
        tiles = -(-height // tile) * -(-width // tile)
        block = choose_tile(tiles, filters, channels, 1, target.lanes, target.registers)
        return cls(tile, channels, filters, tiles, block, target.lanes)

    @property
    def points(self) -> int:
        return (self.tile + 2) ** 2

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
        if 4 * self.u_bytes > target.l3:
            fitting = max(fitting, LONG_CHUNK)
        mr, tiles = self.block[0], batch * self.tiles
        chunks = max(round(tiles / max(fitting, mr)), 1)
        return round_up(-(-tiles // chunks), mr)

    def area(self, capacity: int) -> int:
        """Floats of scratch for each part; see ``code/winograd.py``."""
        v = capacity * self.width + SET_PAD
        return self.points * (v + max(capacity * self.nr, self.width))


class Winograd(Kernel):
    """F(``tile`` x ``tile``, 3 x 3)."""

    tile: ClassVar[int]

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if not options.winograd:
            return "the option winograd is off"
        found = epilogue.parse(site, "conv2d")
        if isinstance(found, str):
            return found
        conv: Conv2d = found[0].op  # type: ignore[assignment]
        if conv.kernel != (3, 3) or conv.stride != (1, 1) or conv.dilation != (1, 1):
            return "it is not a 3x3 convolution of stride 1, undilated"
        if conv.groups != 1:
            return "it is grouped"
        channels = int(site.in_types[0].shape[1])
        if channels < MIN_CHANNELS:
            return f"{channels} input channels: below {MIN_CHANNELS} the transforms cost too much"
        return None

    def cost(self, site: Site, target: Target) -> float:
        shape = Shape.of(self.tile, site, target)
        rows, columns = round_up(shape.tiles, shape.block[0]), round_up(shape.filters, shape.nr)
        product = shape.points * rows * (shape.channels + START) * columns
        moved = shape.points * shape.tiles * (shape.width + columns)
        seconds = (product / MACS + moved / TRANSFORMED) / target.lanes
        return seconds + shape.u_bytes / WEIGHT_BYTES

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, tail = epilogue.matched(site, "conv2d")
        conv: Conv2d = main.op  # type: ignore[assignment]
        target, store, batch = emit.target, emit.store, emit.batch
        shape = Shape.of(self.tile, site, target)
        (mr, nv, unroll), nr = shape.block, shape.nr
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        h, w = site.in_types[0].extents()[2:]
        oh, ow = site.out_types[0].extents()[2:]
        top, left, _, _ = conv.pads(site.in_types[0])
        weights = [site.weight(name) for name in main.weights]
        u = pack(weights[0], conv.flip, self.tile, nr, store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, shape.filters, nr, store)
        capacity, areas = shape.capacity(batch, target), emit.options.threads or 1
        scratch = Buffer(f"{site.name}.winograd", F32 * areas * shape.area(capacity), purpose="scratch")
        args = (
            a.address,
            out.address,
            residual.address if residual else 0,
            u,
            bias,
            packing.linear_table(mr, shape.width, (0,), store),
            packing.zeros(nr, store),
            Address(scratch),
            areas,
            *(batch, h, w, oh, ow, top, left),
            *(shape.channels, shape.width, round_up(shape.filters, target.lanes), capacity),
            *(a.pitch, out.pitch, residual.pitch if residual else 0),
            *(a.image_stride, out.image_stride, residual.image_stride if residual else 0),
            *tail.args,
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.winograd:make",
            (
                ("TILE", self.tile),
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


class Winograd4(Winograd):
    """F(4x4, 3x3)."""

    name = "winograd4"
    tile = 4
    rounding = (2.0, 4)


class Winograd2(Winograd):
    """F(2x2, 3x3)."""

    name = "winograd2"
    tile = 2
    rounding = (1.0, 2)
