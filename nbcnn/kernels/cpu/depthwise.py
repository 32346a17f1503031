"""Depthwise convolution: every channel by itself, whole vectors of channels at a time."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import Emit, Kernel, Site, Step, Store, View, round_up
from nbcnn.kernels.cpu import epilogue, packing
from nbcnn.kernels.cpu.conv import convolution, matched
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

SPECIALISED = {3, 5}
"""Kernel sizes that get code of their own; others share one generic function."""

BLOCKS = (7, 8, 6, 5)
"""Output pixels computed at once: what wastes the least of a row, at best the first."""


def _plane(numbers: tuple[int, ...], missing: int = 1) -> tuple[int, int]:
    """A number for each axis of a plane, from one or two of them."""
    return (missing, *numbers)[-2:]  # type: ignore[return-value]


def pack(weight: Weight, flip: bool, lanes: int, store: Store) -> np.ndarray:
    """Filters [C, 1, *kernel] as [ceil(C/lanes), taps, lanes]."""

    def make() -> np.ndarray:
        filters = np.flip(weight.array, tuple(range(2, weight.array.ndim))) if flip else weight.array
        channels, taps = len(filters), math.prod(filters.shape[2:])
        packed = np.zeros((round_up(channels, lanes), taps), np.float32)
        packed[:channels] = filters.reshape(channels, taps)
        return np.ascontiguousarray(packed.reshape(-1, lanes, taps).transpose(0, 2, 1))

    return store.get(("weights", "depthwise", weight, flip, lanes), make)


class Depthwise(Kernel):
    """A convolution with as many groups as input and output channels; a signal is an image of one row."""

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
        return site.macs / (1e9 * target.lanes)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        conv, main, tail = matched(site)
        a, target = ins[0], emit.target
        residual = epilogue.residual_of(site, ins, tail)
        c = int(site.in_types[0].shape[1])
        h, w = _plane(site.in_types[0].extents()[2:])
        oh, ow = _plane(site.out_types[0].extents()[2:])
        (kh, kw), (sh, sw), dilation = _plane(conv.kernel), _plane(conv.stride), _plane(conv.dilation)
        top, left = _plane(conv.pads(site.in_types[0])[: conv.rank], 0)
        weights = [site.weight(name) for name in main.weights]
        packed = pack(weights[0], conv.flip, target.lanes, emit.store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, c, target.lanes, emit.store)
        generic = kh != kw or kh not in SPECIALISED or sh != sw or sh > 2
        args = (
            a.address,
            out.address,
            residual.address if residual else 0,
            packed,
            bias,
            *(emit.batch, h, w, oh, ow, top, left, *dilation),
            round_up(c, target.lanes),
            *(a.pitch, out.pitch, residual.pitch if residual else 0),
            *(a.image_stride, out.image_stride, residual.image_stride if residual else 0),
            *tail.args,
            *((kh, kw, sh, sw) if generic else ()),
        )
        act = (("ACT", tail.code), ("RES", tail.order), ("LANES", target.lanes))
        if generic:
            name = f"f32_depthwise{tail.label}__{target.isa}"
            spec = KernelSpec("nbcnn.kernels.cpu.code.depthwise:make_generic", act, name)
        else:
            block = min(BLOCKS, key=lambda w: -(-ow // w) * w)
            name = f"f32_depthwise_{kh}x{kw}s{sh}{tail.label}__{target.isa}"
            shape = (("KH", kh), ("KW", kw), ("SH", sh), ("SW", sw), ("WB", block))
            spec = KernelSpec("nbcnn.kernels.cpu.code.depthwise:make", shape + act, name)
        nbytes = 4 * emit.batch * (a.image_stride + out.image_stride)
        return [Step(site.name, spec, args, site.macs * emit.batch, nbytes)]
