"""Convolutions whose filters are mostly zeros: the zeros are not multiplied (see ``code/sparse.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import packing
from nbcnn.kernels.cpu.conv import convolution, matched
from nbcnn.kernels.cpu.walk import DIRECT, SHIFT, Walk
from nbcnn.kernels.layouts import F32, Address, Buffer, Layout, View, planes
from nbcnn.kernels.steps import Arg, Step
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MOST = 7
"""Vectors of a block, where each output channel has its own positions: more would leave the first cache."""

RATE = 3.2e9
"""Multiply-adds of weights that are not zero, in a second and a lane, for estimates."""


@dataclass(frozen=True)
class Geometry:
    """A convolution over planes, and how the kernel divides it."""

    walk: Walk
    channels: int
    filters: int
    groups: int
    block: int
    """output channels that share the positions of their weights in the kernel: 1 or 4"""
    registers: int
    panel: int
    """bytes that a chunk of channels may fill"""

    @classmethod
    def of(cls, site: Site, target: Target) -> Geometry:
        conv, main, _ = matched(site)
        walk = Walk.of(site, conv, target.lanes)
        sparsity = site.weight(main.weights[0]).sparsity
        shared = sparsity.block if sparsity else 1
        block = 4 if shared % 4 == 0 and conv.channels // conv.groups % 4 == 0 else 1
        limits = (block, target.registers, 7 * target.l1 // 6)
        return cls(walk, int(site.in_types[0].shape[1]), conv.channels, conv.groups, *limits)

    @property
    def nv(self) -> int:
        """Vectors of a block: as many as registers hold, all blocks alike."""
        most = MOST if self.block == 1 else (self.registers - 6) // self.block
        return -(-self.walk.vectors // -(-self.walk.vectors // most))

    @property
    def width(self) -> int:
        """Floats of a block."""
        return self.nv * self.walk.lanes

    @property
    def chunk(self) -> int:
        """Channels whose pixels for a block fit into the panel; all chunks are alike."""
        fitting = max(self.panel // (F32 * self.walk.taps * self.width), 1)
        return -(-self.channels // -(-self.channels // fitting))

    @property
    def chunks(self) -> int:
        return -(-self.channels // self.chunk)

    @property
    def excess(self) -> str | None:
        """Why offsets in 32 bits cannot tell what weights read: bytes from one plane to any other."""
        if reason := self.walk.excess:
            return reason
        direct = self.walk.mode == DIRECT
        floats = self.channels * self.walk.pitch if direct else self.chunk * self.walk.taps * self.width
        if F32 * floats >= 1 << 31:
            return f"images of {floats:,} floats are too large: offsets have 32 bits"
        return None


class SparseConv(Kernel):
    """Any convolution whose weight the pass ``sparsify`` marked, over planes."""

    name = "sparse"
    on_trial = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = convolution(site)
        if isinstance(found, str):
            return found
        if site.weight(found[1].weights[0]).sparsity is None:
            return "its weight is not marked as sparse"
        return Geometry.of(site, target).excess

    def cost(self, site: Site, target: Target) -> float:
        _, main, _ = matched(site)
        sparsity = site.weight(main.weights[0]).sparsity
        assert sparsity is not None
        return site.macs * (1 - sparsity.zeros) / (RATE * target.lanes)

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.in_types)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.out_types)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        conv, main, tail = matched(site)
        target, store = emit.target, emit.store
        geometry = Geometry.of(site, target)
        walk, residual = geometry.walk, epilogue.residual_of(site, ins, tail)
        weights = [site.weight(name) for name in main.weights]
        before, x = walk.divide(site.name, ins[0], geometry.channels, emit)
        direct = walk.mode == DIRECT
        width = walk.taps * geometry.width
        reach = x.pitch if direct else width
        starts, offsets, values = entries(weights[0], geometry, F32 * reach, conv.flip, store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, geometry.filters, 1, store)
        areas = emit.options.threads or 1
        scratch = Buffer(f"{site.name}.panel", F32 * areas * geometry.chunk * width, purpose="scratch")
        args: tuple[Arg, ...] = (
            x.address,
            out.address,
            residual.address if residual else 0,
            bias,
            *(starts, offsets, values),
            0 if direct else Address(scratch),
            *(geometry.chunk * width, areas, emit.batch, walk.vectors),
            *(geometry.filters // geometry.block, geometry.chunks),
            *(x.image_stride, x.pitch, out.image_stride, out.pitch),
            *((residual.image_stride, residual.pitch) if residual else (0, 0)),
            *(geometry.channels, geometry.chunk, walk.taps),
            walk.shifts(store) if walk.mode == SHIFT else 0,
            0 if direct else walk.inside(store),
            *tail.args,
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.sparse:make",
            (
                ("BLOCK", geometry.block),
                ("NV", geometry.nv),
                ("TAIL", walk.vectors % geometry.nv),
                ("MODE", walk.mode),
                ("LANES", target.lanes),
                ("REGISTERS", geometry.registers),
                ("ACT", tail.code),
                ("RES", tail.order),
            ),
            f"f32_sparse{('', '_shift', '_gather')[walk.mode]}"
            f"_{geometry.block}x{geometry.width}{tail.label}__{target.isa}",
        )
        nbytes = values.nbytes + offsets.nbytes + F32 * emit.batch * (x.image_stride + out.image_stride)
        macs = values.size * math.prod(walk.out) * emit.batch
        return [*before, Step(site.name, spec, args, macs, nbytes)]


def entries(
    weight: Weight, geometry: Geometry, reach: int, flip: bool, store: Store
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights that are not zero, by chunk and group of channels: starts, offsets and values.

    ``reach`` is the distance in bytes of what two channels read.
    """
    key = ("weights", "sparse", weight, geometry.chunk, geometry.block, geometry.walk.mode, reach, flip)
    made = cache(lambda: _entries(weight, geometry, reach, flip))
    starts, offsets, values = (
        store.get((*key, name), lambda i=i: made()[i])
        for i, name in enumerate(("starts", "offsets", "values"))
    )
    return starts, offsets, values


def _entries(
    weight: Weight, geometry: Geometry, reach: int, flip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    filters = np.flip(weight.array, tuple(range(2, weight.array.ndim))) if flip else weight.array
    block, taps, chunk = geometry.block, geometry.walk.taps, geometry.chunk
    rows, depth = geometry.filters // block, filters.shape[1]
    filters = filters.reshape(rows, block, depth, taps)
    group, channel, tap = np.nonzero((filters != 0).any(axis=1))
    values = filters.transpose(0, 2, 3, 1)[group, channel, tap]
    channel = channel + group * block // (geometry.filters // geometry.groups) * depth
    order = np.lexsort((tap, channel, group, channel // chunk))
    group, channel, tap = group[order], channel[order], tap[order]
    line = channel // chunk * rows + group
    counts = np.bincount(line, minlength=geometry.chunks * rows).reshape(geometry.chunks, rows)
    starts = np.zeros((geometry.chunks, rows + 1), np.int64)
    starts[:, 1:] = counts.cumsum().reshape(counts.shape)
    starts[1:, 0] = starts[:-1, -1]
    direct = geometry.walk.mode == DIRECT
    offsets = channel * reach if direct else channel % chunk * reach + tap * (reach // taps)
    return starts.astype(np.int32), offsets.astype(np.int32), np.ascontiguousarray(values[order], np.float32)
