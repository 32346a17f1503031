"""First layers of 7 and 8 taps a row at stride 2, such as those of ResNets: F(4, 4) along the rows.

Half the multiplications of the direct product. Sums over 147 terms err 2.4 times as much as direct ones, as a
root of squares over normal data.
"""

from __future__ import annotations

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import packing
from nbcnn.kernels.cpu.conv import HALO_CHANNELS, convolution, matched
from nbcnn.kernels.cpu.product import MACS
from nbcnn.kernels.cpu.tiles import choose_tile
from nbcnn.kernels.cpu.toom_cook import algorithm
from nbcnn.kernels.layouts import F32, Address, Buffer, Layout, View, empty_aligned, nhwc, round_up
from nbcnn.kernels.steps import Step
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

ROW = algorithm(4, 4)
POINTS, TILE = ROW.size, ROW.outputs

ROWS = 8
"""Output rows of a chunk: its transformed inputs stay in the second cache."""


class WinogradStem(Kernel):
    """A first layer whose filter is 7 or 8 wide, of stride 2."""

    name = "winograd_stem"
    rounding = (1.0, 4)

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if not options.winograd:
            return "the option winograd is off"
        found = convolution(site)
        if isinstance(found, str):
            return found
        conv, _, tail = found
        if conv.rank != 2 or conv.kernel[1] not in (7, 8) or conv.stride[1] != 2 or conv.dilation != (1, 1):
            return "it is not 7 or 8 wide with stride 2, undilated"
        if conv.groups != 1:
            return "it is grouped"
        if tail.residual:
            return "it adds a residual"
        channels = int(site.in_types[0].shape[1])
        if channels > HALO_CHANNELS:
            return f"{channels} input channels: above {HALO_CHANNELS} reading whole vectors is better"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return 0.65 * site.macs / (MACS * target.lanes)

    def reads(self, site: Site) -> tuple[Layout, ...]:
        conv, _, _ = matched(site)
        top, left, bottom, _ = conv.pads(site.in_types[0])
        image = nhwc(site.in_types[0]).image
        assert image
        tiles = -(-int(site.out_types[0].shape[3]) // TILE)  # type: ignore[arg-type]
        right = max(2 * (TILE * (tiles - 1) + POINTS) - left - image[2], 0)
        return (Layout("halo", image, (top, left, bottom, right)),)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a,), (out,), store, target = ins, outs, emit.store, emit.target
        conv, main, tail = matched(site)
        _, _, oh, ow = site.out_types[0].extents(emit.batch)
        c, _, w = a.layout.image  # type: ignore[misc]
        _, left, _, right = a.layout.pads
        kh, stride, tiles = conv.kernel[0], conv.stride[0], -(-ow // TILE)
        rows = min(ROWS, oh)
        depth = 2 * c * ((rows - 1) * stride + kh)
        mr, nv, _ = choose_tile(tiles, conv.channels, kh * 2 * c, 1, target.lanes, target.registers)
        nr = nv * target.lanes
        point = round_up(round_up(tiles, mr) * depth + 2 * target.lanes, target.lanes)
        area = POINTS * (point + round_up(tiles, mr) * nr)
        areas = emit.options.threads or 1
        scratch = Buffer(f"{site.name}.winograd", F32 * areas * area, purpose="scratch")
        weights = [site.weight(name) for name in main.weights]
        u = pack(weights[0], conv.flip, nr, store)
        args = (
            *(a.address, out.address, u),
            packing.vectors(weights[1] if len(weights) > 1 else None, 1, conv.channels, nr, store),
            packing.linear_table(mr, depth, (0,), store),
            packing.zeros(max(nr, 2 * c * kh), store),
            *(Address(scratch), areas, emit.batch, oh, ow, kh, stride),
            *((left + w + right) * c, 2 * c, round_up(conv.channels, target.lanes), rows),
            *(a.image_stride, out.image_stride, out.pitch),
            *tail.args,
            *(point, area),
        )
        unroll = 7 if kh % 7 == 0 else 4
        sizes = (("MR", mr), ("NV", nv), ("LANES", target.lanes), ("ACT", tail.code), ("UNROLL", unroll))
        name = f"f32_winograd_stem_{mr}x{nr}{tail.label}__{target.isa}"
        spec = KernelSpec("nbcnn.kernels.cpu.code.winograd_stem:make", sizes, name)
        nbytes = u.nbytes + F32 * emit.batch * (a.image_stride + out.image_stride)
        overread = F32 * 2 * (target.lanes + c * POINTS)
        return [Step(site.name, spec, args, site.macs * emit.batch, nbytes, overread)]


def pack(weight: Weight, flip: bool, nr: int, store: Store) -> np.ndarray:
    """Filters [O, C, KH, KW] as U [ceil(O/nr), points, KH * 2C, nr], in float64, rounded once."""

    def make() -> np.ndarray:
        filters = weight.array[:, :, ::-1, ::-1] if flip else weight.array
        count, c, kh, kw = filters.shape
        panels = -(-count // nr)
        taps = np.zeros((panels * nr, c, kh, 2 * ROW.taps))
        taps[:count, :, :, :kw] = filters
        split = taps.reshape(panels, nr, c, kh, -1, 2)  # panel, filter, channel, row, tap, parity
        packed = empty_aligned((panels, POINTS, kh * 2 * c, nr), np.float32)
        packed[...] = np.einsum("pt,nochtq->nphqco", np.array(ROW.filter), split).reshape(packed.shape)
        return packed

    return store.get(("weights", "winograd_stem", weight, flip, nr), make)
