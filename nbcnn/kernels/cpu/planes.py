"""Kernels over whole channels, for the neighbours of sparse convolutions: they spare conversions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Site
from nbcnn.kernels.cpu import estimates, packing
from nbcnn.kernels.cpu.conv import convolution, matched
from nbcnn.kernels.cpu.elementwise import Unary
from nbcnn.kernels.cpu.walk import GATHER, SHIFT, Walk
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc, planes
from nbcnn.kernels.steps import Arg, Step
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MAX, AVERAGE, DEPTHWISE = 0, 1, 2
"""Codes of ``code/planes.py``."""

TAP, GATHERED = 0.9e-9, 3.3e-9
"""Seconds for a tap of a vector of results, and where its values are gathered one by one."""


class Planes(Kernel):
    """A kernel that reads and writes whole channels."""

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.in_types)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return tuple(planes(t) for t in site.out_types)


def _estimate(site: Site, walk: Walk, target: Target) -> float:
    """Seconds of a window over planes."""
    channels = int(site.out_types[0].shape[1])
    seconds = (GATHERED if walk.mode == GATHER else TAP) * channels * walk.taps * walk.vectors
    moved = estimates.nbytes((*site.in_types, *site.out_types), target.lanes)
    return estimates.CALL + seconds + estimates.far(moved, target)


def _window(
    site: Site,
    walk: Walk,
    ins: View,
    out: View,
    residual: View | None,
    kind: int,
    scales: tuple[Arg, Arg],
    tail: Epilogue,
    emit: Emit,
) -> list[Step]:
    """The steps of one window over planes; ``scales`` are slots 3 and 4 of the argument block."""
    channels, results = int(site.in_types[0].shape[1]), int(site.out_types[0].shape[1])
    before, x = walk.divide(site.name, ins, channels, emit)
    mode = GATHER if walk.mode == GATHER else SHIFT
    args: tuple[Arg, ...] = (
        *(x.address, out.address, residual.address if residual else 0, *scales),
        walk.shifts(emit.store) if mode == SHIFT else 0,
        walk.inside(emit.store),
        *(emit.batch, results, results // channels, walk.taps, walk.vectors),
        *(x.image_stride, x.pitch, out.image_stride, out.pitch),
        *((residual.image_stride, residual.pitch) if residual else (0, 0)),
        *tail.args,
    )
    spec = KernelSpec(
        "nbcnn.kernels.cpu.code.planes:make_window",
        (("OP", kind), ("MODE", mode), ("LANES", walk.lanes), ("ACT", tail.code), ("RES", tail.order)),
        f"f32_planes_{('max', 'mean', 'depthwise')[kind]}{('', '', '_gather')[mode]}"
        f"{tail.label}__{emit.target.isa}",
    )
    nbytes = site.in_types[0].nbytes(emit.batch) + site.out_types[0].nbytes(emit.batch)
    return [*before, Step(site.name, spec, args, site.macs * emit.batch, nbytes)]


def _pooling(site: Site, lanes: int) -> Walk:
    """The walk of the window of max_pool or avg_pool."""
    type_ = site.in_types[0]
    size, at = type_.extents()[2:], site.op.at(type_)  # type: ignore[attr-defined]
    before = at.pads[: len(size)]
    return Walk(size, site.out_types[0].extents()[2:], at.kernel, at.stride, at.dilation, before, lanes)


class PlanesPool(Planes):
    """max_pool and avg_pool."""

    name = "planes_pool"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name not in ("max_pool", "avg_pool"):
            return f"{site.op.name} is no pooling"
        return _pooling(site, target.lanes).excess

    def cost(self, site: Site, target: Target) -> float:
        return _estimate(site, _pooling(site, target.lanes), target)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        op: MaxPool | AvgPool = site.op  # type: ignore[assignment]
        type_ = site.in_types[0]
        at, walk = op.at(type_), _pooling(site, emit.target.lanes)
        if isinstance(op, MaxPool):
            return _window(site, walk, ins[0], outs[0], None, MAX, (0, 0), Epilogue(), emit)

        def shares() -> np.ndarray:
            found = np.zeros(walk.vectors * walk.lanes, np.float32)
            found[: math.prod(walk.out)] = 1 / op.divisors(type_).reshape(-1)
            return found

        scale = emit.store.get(("tables", "shares", walk, op.count_include_pad, at.pads), shares)
        return _window(site, walk, ins[0], outs[0], None, AVERAGE, (scale, 0), Epilogue(), emit)


class PlanesDepthwise(Planes):
    """A convolution whose groups hold one input channel each."""

    name = "planes_depthwise"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = convolution(site)
        if isinstance(found, str):
            return found
        channels = int(site.in_types[0].shape[1])
        if found[0].groups != channels:
            return f"{channels} channels in {found[0].groups} groups is not depthwise"
        return Walk.of(site, found[0], target.lanes).excess

    def cost(self, site: Site, target: Target) -> float:
        conv, _, tail = matched(site)
        seconds = _estimate(site, Walk.of(site, conv, target.lanes), target)
        return seconds + estimates.activated(site.out_types[0], tail, target)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        conv, main, tail = matched(site)
        walk, store = Walk.of(site, conv, emit.target.lanes), emit.store
        weights = [site.weight(name) for name in main.weights]

        def filters() -> np.ndarray:
            array = weights[0].array
            array = np.flip(array, tuple(range(2, array.ndim))) if conv.flip else array
            return array.reshape(len(array), -1)

        packed = store.get(("weights", "planes_depthwise", weights[0], conv.flip), filters)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, conv.channels, 1, store)
        residual = epilogue.residual_of(site, ins, tail)
        return _window(site, walk, ins[0], outs[0], residual, DEPTHWISE, (packed, bias), tail, emit)


class PlanesGlobalPool(Planes):
    """global_avg_pool and global_max_pool: the result is one pixel."""

    name = "planes_global_pool"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        known = ("global_avg_pool", "global_max_pool")
        return None if site.op.name in known else f"{site.op.name} is no global pooling"

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed(site.in_types, target, near=7.4e-12)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (nhwc(site.out_types[0]),)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (x,), (out,) = ins, outs
        n, c, *size = site.in_types[0].extents(emit.batch)
        args = (x.address, out.address, n, c, math.prod(size), x.image_stride, x.pitch, out.image_stride)
        kind = AVERAGE if site.op.name == "global_avg_pool" else MAX
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.planes:make_global",
            (("OP", kind), ("LANES", emit.target.lanes)),
            f"f32_planes_{site.op.name}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=site.in_types[0].nbytes(emit.batch))]


class PlanesUnary(Planes):
    """An activation alone: channels are rows."""

    name = "planes_unary"
    rows = Unary()

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        return self.rows.refuse(site, target, options)

    def cost(self, site: Site, target: Target) -> float:
        return self.rows.cost(site, target)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        def rows(view: View) -> View:
            channels = view.image_stride // view.pitch
            return replace(view, layout=Layout("nhwc", (view.pitch, channels, 1)))

        return self.rows.steps(site, (rows(ins[0]),), (rows(outs[0]),), emit)


class PlanesConcat(Planes):
    """Concatenation along channels: each operand is copied whole."""

    name = "planes_concat"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "concat":
            return f"{site.op.name} is no concat"
        rank = site.out_types[0].rank
        if planes(site.out_types[0]) == PLAIN or site.op.axis % rank != 1:  # type: ignore[attr-defined]
            return "only the channel axis of [N, C, ...] is supported"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=5.3e-12)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,), at = outs, 0
        steps: list[Step] = []
        spec = KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")
        for view, type_ in zip(ins, site.in_types, strict=True):
            width = int(type_.shape[1]) * view.pitch
            to = replace(out, offset=out.offset + at)
            args: tuple[Arg, ...] = (
                view.address,
                to.address,
                emit.batch,
                width,
                view.image_stride,
                out.image_stride,
            )
            steps.append(Step(site.name, spec, args, nbytes=8 * emit.batch * width))
            at += width
        return steps
