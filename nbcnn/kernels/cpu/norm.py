"""Normalisation by the operand's own mean and variance, and local response normalisation."""

from __future__ import annotations

import math

from nbcnn.kernels import norm
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.elementwise import last_activation
from nbcnn.kernels.layouts import F32, Address, Buffer, View, round_up
from nbcnn.kernels.steps import Float, Step
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.lrn import Lrn
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

CODE = "nbcnn.kernels.cpu.code.norm"

QUARTERS = {0.5: 2, 0.75: 3, 1.0: 4}
"""Exponents of local response that square roots make."""


def _bytes(site: Site, emit: Emit, times: int = 2) -> int:
    return times * site.in_types[0].nbytes(emit.batch)


class RowNorm(norm.RowNorm[Target]):
    """layer_norm and rms_norm."""

    def cost(self, site: Site, target: Target) -> float:
        return 1e-6 + estimates.streamed((*site.in_types, *site.out_types), target, near=16e-12)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a,), (out,), op = ins, outs, site.op
        assert isinstance(op, LayerNorm | RmsNorm)
        rows, length, *pitches = self.rows(site, a, out, emit)
        weight, *bias = (w for _, w in site.weights)
        lanes = emit.target.lanes
        vectors = [norm.vector(w, length, lanes, emit.store) for w in (weight, bias[0] if bias else None)]
        args = (a.address, out.address, *vectors, rows, length, *pitches, Float(op.epsilon), int(op.CENTRED))
        spec = KernelSpec(f"{CODE}:make_rows", (("LANES", lanes),), f"f32_row_norm__{emit.target.isa}")
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


class PlaneNorm(norm.PlaneNorm[Target]):
    """instance_norm and group_norm."""

    def cost(self, site: Site, target: Target) -> float:
        return 1e-6 + estimates.streamed((*site.in_types, *site.out_types), target, near=16e-12)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a,), (out,), (type_,), batch = ins, outs, site.in_types, emit.batch
        main, *_ = site.body
        tail = last_activation(site)
        _, channels, *size = type_.extents(batch)
        lanes, isa, pixels = emit.target.lanes, emit.target.isa, math.prod(size)
        width = round_up(channels, lanes)
        scratch = Buffer(f"{site.name}.moments", F32 * 2 * batch * width, purpose="scratch")
        moments = Address(scratch)
        weight, bias = (norm.vector(site.weight(name), channels, lanes, emit.store) for name in main.weights)
        first = KernelSpec(f"{CODE}:make_moments", (("LANES", lanes),), f"f32_moments__{isa}")
        second = KernelSpec(f"{CODE}:make_combine", (), f"f32_combine_moments__{isa}")
        third = KernelSpec(
            f"{CODE}:make_apply",
            (("ACT", tail.code), ("LANES", lanes)),
            f"f32_apply_moments{tail.label}__{isa}",
        )
        epsilon = Float(main.op.epsilon)  # type: ignore[attr-defined]
        look = (a.address, moments, batch, pixels, width, a.pitch, a.image_stride)
        join = (moments, weight, batch, channels, width, norm.groups(main, channels), pixels, epsilon)
        apply = (
            *(a.address, out.address, moments, bias, batch, pixels, width),
            *(a.pitch, out.pitch, a.image_stride, out.image_stride, *tail.args),
        )
        return [
            Step(site.name, first, look, nbytes=_bytes(site, emit, 1)),
            Step(site.name, second, join, nbytes=scratch.nbytes),
            Step(site.name, third, apply, nbytes=_bytes(site, emit)),
        ]


class LocalResponse(norm.LocalResponse[Target]):
    """lrn, for the exponents that square roots make."""

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if isinstance(site.op, Lrn) and site.op.beta not in QUARTERS:
            return f"the exponent {site.op.beta:g} is none of {', '.join(map(str, QUARTERS))}"
        return super().refuse(site, target, options)

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-9

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a,), (out,), op = ins, outs, site.op
        assert isinstance(op, Lrn)
        c, h, w = a.layout.image  # type: ignore[misc]
        lanes, areas = emit.target.lanes, emit.options.threads or 1
        line = c - c % lanes + 2 * lanes + op.size
        scratch = Buffer(f"{site.name}.squares", F32 * areas * line, purpose="scratch")
        args = (
            *(a.address, out.address, Address(scratch), areas, emit.batch * h * w, c, a.pitch, out.pitch),
            *(op.size, Float(op.alpha / op.size), Float(op.bias)),
        )
        quarters = QUARTERS[op.beta]
        spec = KernelSpec(
            f"{CODE}:make_lrn",
            (("QUARTERS", quarters), ("LANES", lanes)),
            f"f32_lrn_{quarters}q__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]
