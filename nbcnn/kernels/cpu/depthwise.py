"""Depthwise convolution: every channel by itself, whole vectors of channels at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Rowwise, Site, Store
from nbcnn.kernels.cpu import estimates, packing
from nbcnn.kernels.cpu.conv import convolution, matched, rows_of
from nbcnn.kernels.layouts import F32, View, round_up
from nbcnn.kernels.rows import Walk
from nbcnn.kernels.steps import Step
from nbcnn.ops.conv import Conv
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

SPECIALISED = {3, 5}
"""Kernel sizes that get code of their own; others share one generic function."""

BLOCKS = (7, 8, 6, 5)
"""Output pixels computed at once: what wastes the least of a row, at best the first."""

COLUMN, ALIASED, GENERIC = 0.58e-9, 0.92e-9, 0.9e-9
"""Seconds for a vector of input that meets a row of the filter, the same where pixels lie a multiple of 2 KiB
apart, and for a tap of the generic function."""

BOTH_BORDERS = 1.4
"""A tile that is as wide as the image checks every column: it takes so many times as long."""


def _plane(numbers: tuple[int, ...], missing: int = 1) -> tuple[int, int]:
    """A number for each axis of a plane, from one or two of them."""
    return (missing, *numbers)[-2:]  # type: ignore[return-value]


def generic(conv: Conv) -> bool:
    """Whether the generic function serves the convolution."""
    (kh, kw), (sh, sw) = _plane(conv.kernel), _plane(conv.stride)
    return kh != kw or kh not in SPECIALISED or sh != sw or sh > 2


def _least_waste(width: int) -> int:
    """Output pixels of a tile, for a row of ``width``."""
    return min(BLOCKS, key=lambda w: -(-width // w) * w)


def pack(weight: Weight, flip: bool, lanes: int, store: Store) -> np.ndarray:
    """Filters [C, 1, *kernel] as [ceil(C/lanes), taps, lanes]."""

    def make() -> np.ndarray:
        filters = np.flip(weight.array, tuple(range(2, weight.array.ndim))) if flip else weight.array
        channels, taps = len(filters), math.prod(filters.shape[2:])
        packed = np.zeros((round_up(channels, lanes), taps), np.float32)
        packed[:channels] = filters.reshape(channels, taps)
        return np.ascontiguousarray(packed.reshape(-1, lanes, taps).transpose(0, 2, 1))

    return store.get(("weights", "depthwise", weight, flip, lanes), make)


@dataclass(frozen=True)
class Depthwise(Rowwise):
    """A convolution with as many groups as input and output channels; a signal is an image of one row.

    ``block`` pixels are computed at once, by default those of `BLOCKS` that waste the least of a row.
    """

    block: int | None = None
    name = "depthwise"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = convolution(site)
        if isinstance(found, str):
            return found
        conv = found[0]
        if conv.rank > 2:
            return "it spans three axes"
        channels = int(site.in_types[0].shape[1])
        if conv.groups != channels or conv.channels != channels:
            return f"{channels} to {conv.channels} channels in {conv.groups} groups is not depthwise"
        return None

    def cost(self, site: Site, target: Target) -> float:
        conv, _, tail = matched(site)
        types = site.in_types[0], site.out_types[0]
        (kh, kw), (_, sw), width = _plane(conv.kernel), _plane(conv.stride), int(site.out_types[0].shape[-1])
        vectors = estimates.nbytes(types[1:], target.lanes) / (F32 * target.lanes)
        if generic(conv):
            seconds = GENERIC * kh * kw * vectors
        else:
            block = self.block or _least_waste(width)
            columns = -(-width // block) * ((block - 1) * sw + kw)
            aliases = round_up(conv.channels, target.lanes) % 512 == 0
            seconds = (ALIASED if aliases else COLUMN) * kh * columns * vectors / width
            seconds *= BOTH_BORDERS if width <= block else 1
        moved = estimates.far(estimates.nbytes(types, target.lanes), target)
        return estimates.CALL + seconds + moved + estimates.activated(types[1], tail, target)

    @property
    def variant(self) -> str:
        return f"block {self.block}" if self.block else ""

    def variants(self, site: Site, target: Target) -> tuple[Kernel, ...]:
        conv, _, _ = matched(site)
        if generic(conv):
            return ()
        width = int(site.out_types[0].shape[-1])
        chosen = _least_waste(width)
        return tuple(replace(self, block=b) for b in BLOCKS if b != chosen and b < 2 * width)

    def walk(self, site: Site) -> Walk:
        conv, _, _ = matched(site)
        return rows_of(conv, site) if conv.rank == 2 else Walk(1, 1)

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
        a, target = ins[0], emit.target
        residual = epilogue.residual_of(site, ins, tail)
        c = int(site.in_types[0].shape[1])
        rows = rows or self.walk(site)
        w, ow = (t.extents()[-1] for t in (site.in_types[0], site.out_types[0]))
        (kh, kw), (sh, sw), dilation = _plane(conv.kernel), _plane(conv.stride), _plane(conv.dilation)
        left = conv.pads(site.in_types[0])[conv.rank - 1]
        weights = [site.weight(name) for name in main.weights]
        packed = pack(weights[0], conv.flip, target.lanes, emit.store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, c, target.lanes, emit.store)
        any_window = generic(conv)
        args = (
            a.address,
            out.address,
            residual.address if residual else 0,
            packed,
            bias,
            *(emit.batch, rows.size, w, rows.out, ow, rows.before, left, *dilation),
            round_up(c, target.lanes),
            *(a.pitch, out.pitch, residual.pitch if residual else 0),
            *(a.image_stride, out.image_stride, residual.image_stride if residual else 0),
            *tail.args,
            *((kh, kw, sh, sw) if any_window else ()),
        )
        act = (("ACT", tail.code), ("RES", tail.order), ("LANES", target.lanes))
        if any_window:
            name = f"f32_depthwise{tail.label}__{target.isa}"
            spec = KernelSpec("nbcnn.kernels.cpu.code.depthwise:make_generic", act, name)
        else:
            block = self.block or _least_waste(ow)
            name = f"f32_depthwise_{kh}x{kw}s{sh}{tail.label}__{target.isa}"
            shape = (("KH", kh), ("KW", kw), ("SH", sh), ("SW", sw), ("WB", block))
            spec = KernelSpec("nbcnn.kernels.cpu.code.depthwise:make", shape + act, name)
        nbytes = 4 * emit.batch * (a.image_stride + out.image_stride)
        return [Step(site.name, spec, args, site.macs * emit.batch, nbytes)]
