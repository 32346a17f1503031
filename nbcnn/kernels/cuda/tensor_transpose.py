"""Transposed convolutions on tensor cores where no two windows overlap: a 1x1 convolution, then a move.

With kernel = stride each input pixel makes a block of its own: one matrix product computes the channels of
all points of the block, bias and activation included, and a copy puts the points where they belong.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda import choose, moves, packing
from nbcnn.kernels.cuda.base import CudaKernel
from nbcnn.kernels.cuda.images import KIND, Operands, cost, epilogue_of, plane, unavailable
from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import Epilogue
from nbcnn.kernels.cuda.tensor_conv import conv_steps, packed_for
from nbcnn.kernels.layouts import Buffer, Layout, View, round_up
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.conv_transpose import ConvTranspose
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

MAINS = ("conv_transpose1d", "conv_transpose2d")


class TensorTranspose(CudaKernel):
    """A transposed convolution of a signal or an image, in one group, whose kernel is its stride."""

    name = "tensor_transpose"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        if reason := unavailable(target):
            return reason
        found = epilogue.parse(site, *MAINS)
        if isinstance(found, str):
            return found
        op, tail = _op(site), found[1]
        if isinstance(fused := epilogue_of(tail), str):
            return fused
        if tail.residual:
            return "it adds nothing to what it moves"
        if op.kernel != op.stride or set(op.dilation) != {1} or op.groups != 1:
            return "its windows overlap, leave gaps, or are in groups"
        if any(op.pads(site.in_types[0])) or any(op.output_padding):
            return "it cuts off or adds points"
        return choose.refusal(self._problem(site, target), KIND[target.precision])

    def cost(self, site: Site, target: CudaTarget) -> float:
        conv = self._problem(site, target)
        return cost(site, target, conv.m * conv.c * conv.k) + cost(site, target, 0)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (main, tail), (out,), op = epilogue.matched(site, *MAINS), outs, _op(site)
        conv, kind, fused = self._problem(site, emit.target), KIND[emit.target.precision], epilogue_of(tail)
        assert isinstance(fused, Epilogue)
        weight, *bias = (site.weight(name) for name in main.weights)
        (kh, kw), each = plane(op.kernel), round_up(op.channels, emit.target.lanes)

        def filters() -> np.ndarray:
            c = int(site.in_types[0].shape[1])
            wide = np.zeros((kh, kw, each, c), np.float32)
            wide[:, :, : op.channels] = weight.array.reshape(c, op.channels, kh, kw).transpose(2, 3, 1, 0)
            return wide.reshape(conv.k, c, 1, 1)

        def biases() -> np.ndarray:
            found = bias[0].array if bias else None
            return np.tile(packing.bias_vector(found, op.channels, emit.target.lanes), kh * kw)

        key = ("weights", "tensor_transpose", kind, weight)
        beside = emit.store.get((*key, "bias", bias[0] if bias else None), biases)
        packed = partial(packed_for, kind, key, filters, emit)
        pixels = conv.h * conv.w
        scratch = Buffer(f"{site.name} blocks", emit.batch * pixels * conv.k * out.size, purpose="scratch")
        layout = Layout("nhwc", (conv.k, conv.h, conv.w))
        blocks = View(scratch, layout, conv.k, pixels * conv.k, size=out.size)
        made = conv_steps(site, conv, Operands(ins[0], blocks, None, beside, tail), packed, fused, emit)
        row = conv.w * kw * out.pitch
        axes = [
            Axis(emit.batch, blocks.image_stride, out.image_stride),
            Axis(conv.h, conv.w * conv.k, kh * row),
            Axis(kh, kw * each, row),
            Axis(conv.w, conv.k, kw * out.pitch),
            Axis(kw, each, out.pitch),
            Axis(op.channels, 1, 1),
        ]
        return [*made, *moves.move(site.name, blocks, out, axes, emit)]

    def _problem(self, site: Site, target: CudaTarget) -> Conv:
        """The 1x1 convolution of one image: a filter for each channel of each point of a block."""
        op, (c, *size) = _op(site), site.in_types[0].extents()[1:]
        kh, kw = plane(op.kernel)
        return Conv(1, *plane(size), round_up(c, target.lanes), kh * kw * round_up(op.channels, target.lanes))


def _op(site: Site) -> ConvTranspose:
    op = site.body[0].op
    assert isinstance(op, ConvTranspose)
    return op
