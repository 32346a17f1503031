"""Normalisation by the operand's own mean and variance, and local response normalisation."""

from __future__ import annotations

import math

from nbcnn.errors import NbcnnError
from nbcnn.kernels import norm
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import numbers, pixel_pitch, plain_step, simt, stored, streamed
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.cuda.elementwise import activated, label_of
from nbcnn.kernels.cuda.softmax import row_kernel
from nbcnn.kernels.elementwise import last_activation
from nbcnn.kernels.layouts import F32, PLAIN, Address, Buffer, View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.lrn import Lrn
from nbcnn.target import CudaTarget

EACH = 4
"""Channels that a thread of ``make_apply`` computes (``simt/norm.py``)."""

RUN, CHUNKS = 64, 1024
"""The least pixels whose moments one thread computes, and the most parts that a plane is cut into."""


class RowNorm(norm.RowNorm[CudaTarget]):
    """layer_norm and rms_norm."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), op, target = ins, outs, site.op, emit.target
        assert isinstance(op, LayerNorm | RmsNorm)
        rows, length, *pitches = self.rows(site, x, out, emit)
        kind, centred = stored(x, target), int(op.CENTRED)
        width = length if x.layout == PLAIN else pixel_pitch(length, target)
        weight, *bias = (w for _, w in site.weights)
        vectors = [norm.vector(w, length, 1, emit.store) for w in (weight, bias[0] if bias else None)]
        params = (
            *(("x", f"{kind}[]"), ("out", f"{kind}[]"), ("weight", "f32[]"), ("bias", "f32[]")),
            *(*numbers("rows length width x_pitch out_pitch"), ("epsilon", "f32")),
        )
        kernel, group = row_kernel("rows", op.name, kind, length, params, target, CENTRED=centred)
        args = (x.address, out.address, *vectors, rows, length, width, *pitches, op.epsilon)
        nbytes = 2 * site.in_types[0].nbytes(emit.batch)
        return [plain_step(site.name, kernel, target, rows * group, args, nbytes=nbytes)]


class PlaneNorm(norm.PlaneNorm[CudaTarget]):
    """instance_norm and group_norm."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return 1.5 * streamed(site, target, launches=2)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), (type_,), target = ins, outs, site.in_types, emit.target
        main, *_ = site.body
        batch, channels, *size = type_.extents(emit.batch)
        width, pixels, kind = pixel_pitch(channels, target), math.prod(size), target.kind
        run = max(RUN, -(-pixels // CHUNKS))
        chunks, groups = -(-pixels // run), norm.groups(main, channels)
        if max(batch * groups, width * pixels) > LIMIT:
            raise NbcnnError(f"{type_} is too large for a kernel that normalises it")
        each = channels // groups
        sums, moments = (
            Address(Buffer(f"{site.name}.{name}", F32 * 2 * batch * rows * width, purpose="scratch"))
            for name, rows in (("sums", chunks), ("moments", 1))
        )
        weight, bias = (norm.vector(site.weight(w), channels, target.lanes, emit.store) for w in main.weights)
        epsilon, tail = main.op.epsilon, last_activation(site)  # type: ignore[attr-defined]
        image = ("x", f"{kind}[]")
        first = simt(
            *("norm", "make_moments", f"{kind}_moments"),
            (
                image,
                ("sums", "f32[]"),
                *numbers("images units width factor shift run pixels pitch x_image"),
            ),
            target,
            KIND=kind,
        )
        second = simt(
            *("shared_rows", "make_combine", "f32_combine_moments"),
            (
                *((name, "f32[]") for name in ("sums", "moments", "weight")),
                *numbers("jobs groups groups_factor groups_shift each each_factor each_shift"),
                *(*numbers("chunks run pixels width"), ("epsilon", "f32")),
            ),
            target,
            THREADS=target.threads,
        )
        third = simt(
            *("norm", "make_apply", f"{kind}_apply_moments{label_of(tail)}"),
            (
                *(image, ("out", f"{kind}[]"), ("moments", "f32[]"), ("bias", "f32[]")),
                *numbers("images units width valid apart factor shift x_pitch x_image out_pitch out_image"),
                *(("a", "f32"), ("b", "f32")),
            ),
            target,
            ACT=activated(tail),
            KIND=kind,
        )
        look = (
            *(x.address, sums, batch, chunks * width, width, *reciprocal(width), run, pixels),
            *(x.pitch, x.image_stride),
        )
        jobs = batch * groups
        join = (
            *(sums, moments, weight, jobs, groups, *reciprocal(groups), each, *reciprocal(each)),
            *(chunks, run, pixels, width, epsilon),
        )
        apart = width // EACH
        apply = (
            *(x.address, out.address, moments, bias, batch, pixels * apart, width, channels),
            *(apart, *reciprocal(apart), x.pitch, x.image_stride, out.pitch, out.image_stride),
            *(tail.a, tail.b),
        )
        nbytes = type_.nbytes(emit.batch)
        return [
            plain_step(site.name, first, target, chunks * width, look, rows=batch, nbytes=nbytes),
            plain_step(site.name, second, target, jobs * target.threads, join, nbytes=sums.buffer.nbytes),
            plain_step(site.name, third, target, pixels * apart, apply, rows=batch, nbytes=2 * nbytes),
        ]


class LocalResponse(norm.LocalResponse[CudaTarget]):
    """lrn, for any exponent."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), (type_,), op, target = ins, outs, site.in_types, site.op, emit.target
        assert isinstance(op, Lrn)
        c, h, w = x.layout.image  # type: ignore[misc]
        width, kind = pixel_pitch(c, target), target.kind
        units = emit.batch * h * w * width
        if units > LIMIT:
            raise NbcnnError(f"{type_} is too large for a kernel that normalises it")
        params = (
            *(("x", f"{kind}[]"), ("out", f"{kind}[]")),
            *numbers("units width valid factor shift x_pitch out_pitch before after"),
            *(("alpha", "f32"), ("bias", "f32"), ("beta", "f32")),
        )
        kernel = simt("norm", "make_lrn", f"{kind}_lrn", params, target, KIND=kind)
        args = (
            *(x.address, out.address, units, width, c, *reciprocal(width), x.pitch, out.pitch),
            *((op.size - 1) // 2, op.size // 2, op.alpha / op.size, op.bias, op.beta),
        )
        nbytes = 2 * type_.nbytes(emit.batch)
        return [plain_step(site.name, kernel, target, units, args, nbytes=nbytes)]
