"""Depthwise convolution on whole 16-byte vectors of channels: see ``code/depthwise.py``.

It multiplies in float32 whatever the precision, hence serves float32 too.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda import choose, packing
from nbcnn.kernels.cuda.base import CudaKernel
from nbcnn.kernels.cuda.images import (
    Operands,
    addresses,
    convolution,
    cost,
    matched,
    moved,
    operands_of,
    pads_of,
    parts,
    plane,
    step,
)
from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import Depthwise
from nbcnn.kernels.layouts import View, round_up
from nbcnn.kernels.steps import DeviceStep
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget


class TensorDepthwise(CudaKernel):
    """A convolution with as many groups as input and output channels; a signal is an image of one row."""

    name = "tensor_depthwise"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        if target.capability < (8, 0):
            return "it is built for compute capability 8.0 on, this is {}.{}".format(*target.capability)
        if isinstance(found := convolution(site), str):
            return found
        op, channels = found.op, int(site.in_types[0].shape[1])
        if op.groups != channels or op.channels != channels:
            return f"{channels} to {op.channels} channels in {op.groups} groups is not depthwise"
        return choose.strips_refusal(self._problem(site, target), target.kind)

    def cost(self, site: Site, target: CudaTarget) -> float:
        return cost(site, target, site.macs)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        match, kind = matched(site), emit.target.kind
        weight, op = site.weight(match.main.weights[0]), match.op

        def pack() -> np.ndarray:
            filters = weight.array.reshape(op.channels, 1, *plane(op.kernel))
            return packing.depthwise_weights(kind, np.flip(filters, (2, 3)) if op.flip else filters)

        w = emit.store.get(("weights", "tensor_depthwise", kind, weight, op.flip), pack)
        operands = operands_of(site, ins, outs, match.main, match.tail, emit)
        found: list[DeviceStep] = []
        for first, conv in parts(self._problem(site, emit.target), operands, emit.batch):
            configs = choose.strips(conv, kind, match.epilogue, emit.target)
            found += emit.pick([partial(_way, site, conv, first, operands, w, emit, c) for c in configs])
        return found

    def _problem(self, site: Site, target: CudaTarget) -> Conv:
        """What the kernel computes for one image, which lies in a buffer of its own."""
        op, x = matched(site).op, site.in_types[0]
        channels, *size = x.extents()[1:]
        c = round_up(channels, target.lanes)
        window = (plane(op.stride), pads_of(op.pads(x)), plane(op.dilation))
        return Conv(1, *plane(size), c, c, *plane(op.kernel), *window, groups=c)


def _way(
    site: Site,
    conv: Conv,
    first: int,
    operands: Operands,
    w: np.ndarray,
    emit: Emit[CudaTarget],
    config: Depthwise,
) -> list[DeviceStep]:
    """The step that computes ``conv``, from image ``first`` on, by ``config``."""
    address, work = addresses(operands, first) | {"w": w}, site.macs * conv.n
    nbytes = moved(conv, operands) + w.nbytes
    return [step(site, config, conv, address, operands.tail, emit.target, macs=work, nbytes=nbytes)]
