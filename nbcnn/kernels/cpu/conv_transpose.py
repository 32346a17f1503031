"""Transposed convolutions: an indirect matrix product for each phase of the stride.

The outputs o = r + s*q of one phase r, 0 <= r < s, see the taps u with r + p - u*d divisible by s, and tap u
of output q reads input q + (r + p - u*d) / s: an ordinary convolution of stride 1 whose results stand s
apart (Dumoulin, Visin, arXiv:1603.07285, section 4). No product is wasted and nothing is moved. A step makes
the rows of one phase that see the same rows of the input inside the image; to the kernel of ``code/igemm.py``
each row is an image of its own, and what lies above or below the image reads zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import packing
from nbcnn.kernels.cpu.product import MACS, Filters, Rows, product_step
from nbcnn.kernels.cpu.tiles import choose_tile
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import F32, View
from nbcnn.kernels.steps import Step
from nbcnn.ops.conv_transpose import TRANSPOSED, ConvTranspose
from nbcnn.options import CompileOptions
from nbcnn.target import Target


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution."""

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0

    def phase(self, r: int) -> tuple[int, dict[int, int]]:
        """How many outputs phase ``r`` has, and the input that each of its taps reads at the first."""
        reach = {u: r + self.before - u * self.dilation for u in range(self.kernel)}
        taps = {u: at // self.stride for u, at in reach.items() if at % self.stride == 0}
        return -(-(self.out - r) // self.stride), taps

    def inside(self, first: int) -> bool:
        """Whether an input exists."""
        return 0 <= first < self.size


@dataclass(frozen=True)
class PhaseFilters(Filters):
    """The taps of one phase of the weight [C, O/G, *kernel], as filters of ``shape`` [O, C/G, taps]."""

    taps: tuple[tuple[int, ...], ...] = ()

    def packed(self, nr: int, store: Store) -> np.ndarray:
        return packing.spread_panels(self.weight, self.taps, self.groups, nr, store)


@dataclass(frozen=True)
class _Strip:
    """Rows ``start`` to ``stop`` of a phase in one plane of the result: a step.

    ``taps`` are as `packing.strip_table` takes them.
    """

    plane: int
    row: int
    column: int
    start: int
    stop: int
    columns: int
    weights: tuple[tuple[int, int, int], ...]
    taps: tuple[tuple[int, int] | None, ...]


class TransposedConv(Kernel):
    """Transposed convolutions over one to three axes, of any stride, dilation and number of groups."""

    name = "igemm_transposed"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, *TRANSPOSED)
        return found if isinstance(found, str) else None

    def cost(self, site: Site, target: Target) -> float:
        return site.macs / (MACS * target.lanes)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, tail = epilogue.matched(site, *TRANSPOSED)
        a, residual = ins[0], epilogue.residual_of(site, ins, tail)
        axes = depth, rows, columns = _axes(site, _op(main))
        found = list(_strips(*axes, columns.size * a.pitch))
        work = sum((s.stop - s.start) * s.columns * len(s.taps) for s in found)
        steps = []
        for strip in found:
            share = (strip.stop - strip.start) * strip.columns * len(strip.taps) / work
            flat = depth.size == depth.out == 1
            whole = strip.stop - strip.start == rows.size and rows.out == rows.size * rows.stride and flat
            for image in range(1 if whole or (flat and rows.size == rows.out == 1) else emit.batch):
                step = _step(site, main, tail, strip, axes, (a, out, residual), image, whole, emit)
                steps.append(replace(step, macs=round(step.macs * share), nbytes=round(step.nbytes * share)))
        return steps


def _op(main: Node) -> ConvTranspose:
    assert isinstance(main.op, ConvTranspose)
    return main.op


def _axes(site: Site, op: ConvTranspose) -> tuple[Axis, Axis, Axis]:
    """Depth, rows and columns; an image has one plane, a signal one row."""
    size, out = site.in_types[0].extents()[2:], site.out_types[0].extents()[2:]
    pads = op.pads(site.in_types[0])[: op.rank]
    axes = [Axis(*n) for n in zip(size, out, op.kernel, op.stride, op.dilation, pads, strict=True)]
    depth, rows, columns = (*(Axis(1, 1) for _ in range(3 - op.rank)), *axes)
    return depth, rows, columns


def _strips(depth: Axis, rows: Axis, columns: Axis, row: int) -> Iterator[_Strip]:
    """The steps of one image, whose rows are ``row`` floats apart."""
    for plane in range(depth.out):
        _, ahead = depth.phase(plane % depth.stride)
        planes = {t: plane // depth.stride + first for t, first in ahead.items()}
        for r in range(min(rows.stride, rows.out)):
            height, above = rows.phase(r)
            seen = [tuple(rows.inside(q + first) for first in above.values()) for q in range(height)]
            runs = [list(lines) for _, lines in groupby(range(height), seen.__getitem__)]
            for c in range(min(columns.stride, columns.out)):
                width, left = columns.phase(c)
                weights = tuple(product(planes, above, left))
                for lines in runs:
                    there = dict(zip(above, seen[lines[0]], strict=True))
                    taps = tuple(
                        (planes[t] * rows.size * row + above[u] * row, left[v])
                        if there[u] and depth.inside(planes[t])
                        else None
                        for t, u, v in weights
                    )
                    yield _Strip(plane, r, c, lines[0], lines[-1] + 1, width, weights, taps or (None,))


def _step(
    site: Site,
    main: Node,
    tail: Epilogue,
    strip: _Strip,
    axes: tuple[Axis, Axis, Axis],
    views: tuple[View, View, View | None],
    image: int,
    whole: bool,
    emit: Emit,
) -> Step:
    """One product; its images are the rows of a strip."""
    (depth, rows, columns), (a, out, residual), op = axes, views, _op(main)
    channels = int(site.in_types[0].shape[1])
    k, per_group, target = channels // op.groups, op.channels // op.groups, emit.target
    # A row of the phase is `stride` rows of the result further on. Single rows: the images themselves.
    single = rows.size == rows.out == depth.size == depth.out == 1
    lines = emit.batch if single else (strip.stop - strip.start) * (emit.batch if whole else 1)

    def placed(view: View, first: int, pitch: int, line: int) -> View:
        offset = view.offset + image * view.image_stride + first
        return View(view.buffer, view.layout, pitch, view.image_stride if single else line, offset)

    def strided(view: View) -> View:
        row = columns.out * view.pitch
        first = (
            strip.plane * rows.out + strip.row + rows.stride * strip.start
        ) * row + strip.column * view.pitch
        return placed(view, first, columns.stride * view.pitch, rows.stride * row)

    row = columns.size * a.pitch
    source = placed(a, strip.start * row, a.pitch, row)
    tile = choose_tile(strip.columns, per_group, k, len(strip.taps), target.lanes, target.registers)
    table = packing.strip_table(strip.columns, columns.size, strip.taps, a.pitch, tile[0], emit.store)
    walk = Rows(table, len(strip.taps), k, strip.columns, lines, 0, len(strip.taps) * tile[0])
    weights = [site.weight(name) for name in main.weights]
    filters = PhaseFilters(
        weights[0],
        weights[1] if len(weights) > 1 else None,
        (op.channels, k, len(strip.taps)),
        op.groups,
        taps=tuple(tap[-op.rank :] for tap in strip.weights),
    )
    other = strided(residual) if residual else None
    step = product_step(site, source, strided(out), other, walk, filters, tile, tail, emit)
    images = emit.batch if whole or single else 1
    return replace(
        step,
        macs=site.macs * images,
        nbytes=F32 * images * (a.image_stride + out.image_stride),
    )
