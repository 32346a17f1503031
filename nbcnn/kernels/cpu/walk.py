"""How windows walk over whole channels: one description for sparse filters, depthwise ones and pooling.

A tap of a window is a distance in memory, the same for every pixel, where the output is as wide as the
input; which lanes then lie inside the image, a table of bits says. With stride 2 this holds after the planes
were divided into phases (even and odd rows and columns). Any other walk goes by a table of offsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbcnn.kernels.base import Emit, Site, Store
from nbcnn.kernels.cpu.packing import MOST_ENTRIES
from nbcnn.kernels.layouts import F32, Buffer, View, round_up
from nbcnn.kernels.steps import Step
from nbcnn.ops.conv import Conv
from nbcnn.runtime.codecache import KernelSpec

DIRECT, SHIFT, GATHER = 0, 1, 2
"""Pixels of the output read those at the same place; at a distance; by a table. See ``code/planes.py``."""


@dataclass(frozen=True)
class Walk:
    """A window over planes of one to three axes; ``before`` is the padding."""

    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    lanes: int

    @classmethod
    def of(cls, site: Site, conv: Conv, lanes: int) -> Walk:
        """The walk of the filters of ``conv`` at ``site``."""
        size, out = (t.extents()[2:] for t in (site.in_types[0], site.out_types[0]))
        before = conv.pads(site.in_types[0])[: conv.rank]
        return cls(size, out, conv.kernel, conv.stride, conv.dilation, before, lanes)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def vectors(self) -> int:
        """Of a plane of the output."""
        return -(-math.prod(self.out) // self.lanes)

    @property
    def steps(self) -> np.ndarray:
        """[axes, taps]: from the first pixel of the output to what each tap reads, in pixels of the input."""
        places = np.indices(self.kernel).reshape(len(self.kernel), -1)
        return places * _column(self.dilation) - _column(self.before)

    @property
    def divided(self) -> bool:
        """Whether planes are first divided into phases, over which windows have stride 1."""
        return self.stride == (2, 2) and self.out[1] == -(-self.size[1] // 2)

    @property
    def phases(self) -> tuple[int, ...]:
        """Those that are read: 2 * (row is odd) + (column is odd)."""
        return tuple(sorted({int(p) for p in _phase(self.steps)}))

    @property
    def plane(self) -> tuple[int, ...]:
        """Extents of what windows walk over by steps of one: of a phase, where planes are divided."""
        return tuple(-(-n // 2) for n in self.size) if self.divided else self.size

    @property
    def pitch(self) -> int:
        """Floats of one such plane."""
        return round_up(math.prod(self.plane), self.lanes)

    @property
    def mode(self) -> int:
        if any(s != 1 for s in self.stride) and not self.divided:
            return GATHER
        if self.taps == 1 and not any(self.before) and self.out == self.plane:
            return DIRECT
        return SHIFT if self.out[1:] == self.plane[1:] else GATHER

    @property
    def excess(self) -> str | None:
        """Why there can be no tables of this walk: they hold 32 bits, and must fit in memory."""
        reach = math.prod(max(n, m) for n, m in zip(self.size, self.out, strict=True)) + 4 * self.lanes
        if reach >= 1 << 31:
            return f"planes of {reach:,} floats are too large: offsets have 32 bits"
        entries = self.taps * self.vectors * (self.lanes if self.mode == GATHER else 1)
        if entries > MOST_ENTRIES:
            return f"kernel and image are too large: {entries:,} offsets, over the limit of 2**30"
        return None

    def shifts(self, store: Store) -> np.ndarray:
        """int32 [taps]: floats from an output pixel to the input pixel of each tap (SHIFT)."""

        def make() -> np.ndarray:
            steps = self.steps
            if not self.divided:
                return (_floats(self.size) @ steps).astype(np.int32)
            phase = np.searchsorted(self.phases, _phase(steps)) * self.pitch
            return (phase + _floats(self.plane) @ (steps // 2)).astype(np.int32)

        return store.get(("tables", "shifts", self), make)

    def inside(self, store: Store) -> np.ndarray:
        """What lies inside the image: SHIFT: int32 [taps, vectors], lanes as bits; GATHER: offsets, or -1."""

        def make() -> np.ndarray:
            rank, cells = len(self.size), (self.taps, self.vectors * self.lanes)
            ones = np.ones(2 * rank, int)
            within, offsets = np.ones(ones, bool), np.zeros(ones, np.int32)
            for axis, floats in enumerate(_floats(self.size)):
                first = np.arange(self.kernel[axis]) * self.dilation[axis] - self.before[axis]
                at = first[:, None] + np.arange(self.out[axis]) * self.stride[axis]
                seen = (at >= 0) & (at < self.size[axis])
                shape = ones.copy()
                shape[[axis, rank + axis]] = at.shape
                within = within & seen.reshape(shape)
                if self.mode == GATHER:
                    offsets = offsets + np.where(seen, at * floats, 0).astype(np.int32).reshape(shape)
            pixels = math.prod(self.out)
            if self.mode == GATHER:
                offsets[~within] = -1
                table = np.full(cells, -1, np.int32)
                table[:, :pixels] = offsets.reshape(self.taps, pixels)
                return table
            lanes = np.zeros(cells, bool)
            lanes[:, :pixels] = within.reshape(self.taps, pixels)
            octets = np.packbits(
                lanes.reshape(self.taps, self.vectors, self.lanes), axis=2, bitorder="little"
            )
            bits = np.zeros((self.taps, self.vectors, 4), np.uint8)
            bits[..., : octets.shape[2]] = octets
            return bits.view("<i4")[..., 0]

        return store.get(("tables", "inside", self), make)

    def divide(self, site: str, x: View, channels: int, emit: Emit) -> tuple[list[Step], View]:
        """The step that divides the planes of ``x``, if need be, and the view of what is then read."""
        if not self.divided:
            return [], x
        phases, pitch = self.phases, self.pitch
        floats = channels * len(phases) * pitch
        buffer = Buffer(f"{site}.phases", F32 * emit.batch * floats, purpose="scratch")
        found = View(buffer, x.layout, len(phases) * pitch, floats)

        def slots() -> np.ndarray:
            return np.array([phases.index(p) if p in phases else -1 for p in range(4)], np.int32)

        args = (
            *(x.address, found.address, emit.batch, channels, *self.size),
            *(x.pitch, x.image_stride, pitch, floats, len(phases)),
            emit.store.get(("tables", "phases", phases), slots),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.phases:make", (("LANES", self.lanes),), f"f32_phases__{emit.target.isa}"
        )
        nbytes = F32 * emit.batch * (x.image_stride + floats)
        return [Step(site, spec, args, nbytes=nbytes, conversion=True)], found


def _column(numbers: tuple[int, ...]) -> np.ndarray:
    return np.array(numbers)[:, None]


def _phase(steps: np.ndarray) -> np.ndarray:
    return 2 * (steps[0] % 2) + steps[1] % 2


def _floats(size: tuple[int, ...]) -> np.ndarray:
    """The distances of neighbours along each axis of a plane."""
    return np.array([math.prod(size[i + 1 :]) for i in range(len(size))])
