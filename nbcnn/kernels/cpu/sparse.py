"""Convolutions whose filters are mostly zeros: the zeros are not multiplied (see ``code/sparse.py``)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import (
    F32,
    Address,
    Buffer,
    Emit,
    Kernel,
    Layout,
    Site,
    Step,
    Store,
    View,
    planes,
    round_up,
)
from nbcnn.kernels.cpu import epilogue, packing
from nbcnn.ops.conv2d import Conv2d
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

DIRECT, SHIFT, GATHER = 0, 1, 2
"""Where a weight finds its pixels; see ``code/sparse.py``."""

MOST = 7
"""Vectors of a block, where each output channel has its own positions: more would leave the first cache."""

RATE = 3.2e9
"""Multiply-adds of weights that are not zero, in a second and a lane, for estimates."""


@dataclass(frozen=True)
class Geometry:
    """How a convolution walks its planes, and how the kernel divides it."""

    channels: int
    filters: int
    groups: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    top: int
    left: int
    block: int
    lanes: int
    registers: int
    panel: int
    """bytes that a chunk of channels should fill"""

    @classmethod
    def of(cls, site: Site, target: Target) -> Geometry:
        main, _ = epilogue.matched(site, "conv2d")
        conv: Conv2d = main.op  # type: ignore[assignment]
        _, c, h, w = site.in_types[0].extents()
        oh, ow = site.out_types[0].extents()[2:]
        top, left, _, _ = conv.pads(site.in_types[0])
        sparsity = site.weight(main.weights[0]).sparsity
        shared = sparsity.block if sparsity else 1
        block = 4 if shared % 4 == 0 and conv.channels // conv.groups % 4 == 0 else 1
        walk = (conv.kernel, conv.stride, conv.dilation, top, left)
        limits = (block, target.lanes, target.registers, 7 * target.l1 // 6)
        return cls(c, conv.channels, conv.groups, h, w, oh, ow, *walk, *limits)  # type: ignore[arg-type]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def walks(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each tap, in pixels of the input from the first pixel of the output."""
        y, x = np.divmod(np.arange(self.taps), self.kernel[1])
        return y * self.dilation[0] - self.top, x * self.dilation[1] - self.left

    @property
    def divided(self) -> bool:
        """Whether the planes are first divided into phases, over which the filters have stride 1."""
        return self.stride == (2, 2) and self.out_width == -(-self.width // 2)

    @property
    def phases(self) -> tuple[int, ...]:
        """Those that are read: 2 * (row is odd) + (column is odd)."""
        y, x = self.walks
        return tuple(sorted({int(p) for p in 2 * (y % 2) + x % 2}))

    @property
    def phase_pitch(self) -> int:
        """Floats of one phase of a plane."""
        return round_up(-(-self.height // 2) * -(-self.width // 2), self.lanes)

    @property
    def mode(self) -> int:
        if self.stride != (1, 1) and not self.divided:
            return GATHER
        alone = self.taps == 1 and (self.top, self.left) == (0, 0)
        if alone and (self.divided or (self.out_height, self.out_width) == (self.height, self.width)):
            return DIRECT
        return SHIFT if self.divided or self.out_width == self.width else GATHER

    @property
    def vectors(self) -> int:
        """Of a plane of the output."""
        return -(-self.out_height * self.out_width // self.lanes)

    @property
    def nv(self) -> int:
        """Vectors of a block: as many as registers hold, all blocks alike."""
        most = MOST if self.block == 1 else (self.registers - 6) // self.block
        return -(-self.vectors // -(-self.vectors // most))

    @property
    def chunk(self) -> int:
        """Channels whose pixels for a block fit into the panel; all chunks are alike."""
        fitting = max(self.panel // (self.taps * self.nv * F32 * self.lanes), 1)
        return -(-self.channels // -(-self.channels // fitting))

    @property
    def chunks(self) -> int:
        return -(-self.channels // self.chunk)


class SparseConv(Kernel):
    """Any convolution whose weight the pass ``sparsify`` marked, over planes."""

    name = "sparse"
    on_trial = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, "conv2d")
        if isinstance(found, str):
            return found
        if site.weight(found[0].weights[0]).sparsity is None:
            return "its weight is not marked as sparse"
        return None

    def cost(self, site: Site, target: Target) -> float:
        main, _ = epilogue.matched(site, "conv2d")
        sparsity = site.weight(main.weights[0]).sparsity
        assert sparsity is not None
        return site.macs * (1 - sparsity.zeros) / (RATE * target.lanes)

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.in_types)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.out_types)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, tail = epilogue.matched(site, "conv2d")
        target, store = emit.target, emit.store
        geometry = Geometry.of(site, target)
        x, residual = ins[0], epilogue.residual_of(site, ins, tail)
        weights = [site.weight(name) for name in main.weights]
        before = []
        if geometry.divided:
            before, x = divide(site, geometry, x, emit)
        reach = x.pitch if geometry.mode == DIRECT else geometry.taps * geometry.nv * target.lanes
        flip = main.op.flip  # type: ignore[attr-defined]
        starts, offsets, values = entries(weights[0], geometry, F32 * reach, flip, store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, geometry.filters, 1, store)
        areas = emit.options.threads or 1
        panel = geometry.chunk * geometry.taps * geometry.nv * target.lanes
        packed = geometry.mode != DIRECT
        scratch = Buffer(f"{site.name}.panel", F32 * areas * panel, purpose="scratch")
        inside = walk_table(geometry, store) if packed else 0
        args = (
            x.address,
            out.address,
            residual.address if residual else 0,
            bias,
            *(starts, offsets, values),
            Address(scratch) if packed else 0,
            *(
                panel,
                areas,
                emit.batch,
                geometry.vectors,
                geometry.filters // geometry.block,
                geometry.chunks,
            ),
            *(x.image_stride, x.pitch, out.image_stride, out.pitch),
            *((residual.image_stride, residual.pitch) if residual else (0, 0)),
            *(geometry.channels, geometry.chunk, geometry.taps),
            shifts(geometry, store) if geometry.mode == SHIFT else 0,
            inside,
            *tail.args,
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.sparse:make",
            (
                ("BLOCK", geometry.block),
                ("NV", geometry.nv),
                ("TAIL", geometry.vectors % geometry.nv),
                ("MODE", geometry.mode),
                ("LANES", target.lanes),
                ("ACT", tail.code),
                ("RES", tail.order),
            ),
            f"f32_sparse{('', '_shift', '_gather')[geometry.mode]}"
            f"_{geometry.block}x{geometry.nv * target.lanes}{tail.label}__{target.isa}",
        )
        nbytes = values.nbytes + offsets.nbytes + F32 * emit.batch * (x.image_stride + out.image_stride)
        macs = values.size * geometry.out_height * geometry.out_width * emit.batch
        return [*before, Step(site.name, spec, args, macs, nbytes)]  # type: ignore[arg-type]


def divide(site: Site, geometry: Geometry, x: View, emit: Emit) -> tuple[list[Step], View]:
    """The step that divides the planes of ``x`` into phases, and the view of the first phase of each."""
    store, pitch, phases = emit.store, geometry.phase_pitch, geometry.phases
    size = geometry.channels * len(phases) * pitch
    buffer = Buffer(f"{site.name}.phases", F32 * emit.batch * size, purpose="scratch")
    found = View(buffer, x.layout, len(phases) * pitch, size)
    args = (
        *(x.address, found.address, emit.batch, geometry.channels, geometry.height, geometry.width),
        *(x.pitch, x.image_stride, pitch, size, len(phases)),
        store.get(("tables", "phases", phases), lambda: np.array(phases, np.int32)),
    )
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.phases:make",
        (("LANES", emit.target.lanes),),
        f"f32_phases__{emit.target.isa}",
    )
    nbytes = F32 * emit.batch * (x.image_stride + size)
    return [Step(site.name, spec, args, nbytes=nbytes, conversion=True)], found


def entries(
    weight: Weight, geometry: Geometry, reach: int, flip: bool, store: Store
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights that are not zero, by chunk and group of channels: starts, offsets and values.

    ``reach`` is the distance in bytes of what two channels read.
    """
    key = ("weights", "sparse", weight, geometry.chunk, geometry.block, geometry.mode, reach, flip)
    made = cache(lambda: _entries(weight, geometry, reach, flip))
    starts, offsets, values = (
        store.get((*key, name), lambda i=i: made()[i])
        for i, name in enumerate(("starts", "offsets", "values"))
    )
    return starts, offsets, values


def _entries(
    weight: Weight, geometry: Geometry, reach: int, flip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    filters = weight.array.reshape(geometry.filters, -1, *geometry.kernel)
    if flip:
        filters = filters[:, :, ::-1, ::-1]
    block, taps, chunk = geometry.block, geometry.taps, geometry.chunk
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
    direct = geometry.mode == DIRECT
    offsets = channel * reach if direct else channel % chunk * reach + tap * (reach // taps)
    return starts.astype(np.int32), offsets.astype(np.int32), np.ascontiguousarray(values[order], np.float32)


def shifts(geometry: Geometry, store: Store) -> np.ndarray:
    """int32 [taps]: floats from an output pixel to the input pixel of each tap, at stride 1."""
    y, x = geometry.walks
    steps = y * geometry.width + x
    if geometry.divided:
        plane = np.searchsorted(geometry.phases, 2 * (y % 2) + x % 2) * geometry.phase_pitch
        steps = plane + y // 2 * -(-geometry.width // 2) + x // 2
    return store.get(("tables", "shifts", geometry), lambda: steps.astype(np.int32))


def walk_table(geometry: Geometry, store: Store) -> np.ndarray:
    """What lies inside the image under each tap: lanes as bits (shift), or offsets (gather)."""

    def make() -> np.ndarray:
        pixels = geometry.vectors * geometry.lanes
        oy, ox = np.divmod(np.arange(pixels), geometry.out_width)
        ty, tx = geometry.walks
        y, x = oy * geometry.stride[0] + ty[:, None], ox * geometry.stride[1] + tx[:, None]
        inside = (y >= 0) & (y < geometry.height) & (x >= 0) & (x < geometry.width)
        inside &= oy < geometry.out_height
        if geometry.mode == GATHER:
            return np.where(inside, y * geometry.width + x, -1).astype(np.int32)
        lanes = inside.reshape(geometry.taps, geometry.vectors, geometry.lanes)
        return (lanes << np.arange(geometry.lanes)).sum(axis=2).astype(np.int32)

    return store.get(("tables", "inside", geometry), make)
