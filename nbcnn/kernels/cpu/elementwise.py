"""Element by element: two values with broadcasting, activations, batch norm standing alone."""

from __future__ import annotations

from nbcnn.ir.types import TensorType
from nbcnn.kernels import elementwise
from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.elementwise import LOOPS, Loop, last_activation, nbytes
from nbcnn.kernels.layouts import PLAIN, View, round_up
from nbcnn.kernels.steps import Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

NEAR = 7e-12
"""Seconds for each byte in L2."""


def _rows(view: View, type_: TensorType, emit: Emit) -> tuple[int, int, int]:
    """(rows, width, pitch) of a view whose images follow each other without gaps."""
    if view.layout == PLAIN:
        size = type_.elements(emit.batch)
        return 1, size, size
    c, h, w = view.layout.image  # type: ignore[misc]
    return emit.batch * h * w, round_up(c, emit.target.lanes), view.pitch


class Unary(elementwise.Unary[Target]):
    """An activation alone."""

    def cost(self, site: Site, target: Target) -> float:
        moved = estimates.streamed((*site.in_types, *site.out_types), target, near=NEAR)
        return moved + estimates.activated(site.out_types[0], self.activation(site), target)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        tail = self.activation(site)
        rows, width, pitch = _rows(ins[0], site.in_types[0], emit)
        out_pitch = pitch if out.layout == PLAIN else out.pitch
        args = (ins[0].address, out.address, rows, width, pitch, out_pitch, *tail.args)
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_unary",
            (("ACT", tail.code), ("LANES", emit.target.lanes)),
            f"f32_{tail.activation}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=nbytes(site, emit))]


class Binary(elementwise.Binary[Target]):
    """Arithmetic on two values."""

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=NEAR)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        walk = elementwise.walk(site, ins, outs[0], emit)
        loops = [Loop(1, (0,) * 4)] * (LOOPS - len(walk.loops)) + list(walk.loops)
        tail = walk.tail
        a, b, out, added = (operand.start for operand in walk.operands)
        args = (
            *(a, b, out, walk.row.extent),
            *(loop.extent for loop in loops),
            *(loop.strides[of] for of in range(3) for loop in loops),
            *tail.args,
            added,
            *(loop.strides[3] for loop in loops),
        )
        row_a, row_b, *_ = walk.row.strides
        operator = walk.main.op.name
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_binary",
            (
                *(("OP", BINARIES[operator]), ("ACT", tail.code), ("RES", tail.order)),
                *(("A", row_a), ("B", row_b), ("LANES", emit.target.lanes)),
            ),
            f"f32_{operator}{tail.label}{_FORMS[row_a, row_b]}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=nbytes(site, emit))]


_FORMS = {(1, 1): "", (1, 0): "_number", (0, 1): "_numberleft", (0, 0): "_numbers"}
"""What the name of a kernel says of its operands: one number for a whole row."""


class Affine(elementwise.Affine[Target]):
    """batch_norm standing alone."""

    def cost(self, site: Site, target: Target) -> float:
        return estimates.streamed((*site.in_types, *site.out_types), target, near=1.4 * NEAR)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        tail, (scale, shift) = last_activation(site), self.vectors(site, emit)
        rows, width, pitch = _rows(ins[0], site.in_types[0], emit)
        args = (ins[0].address, out.address, rows, width, pitch, out.pitch, scale, shift, *tail.args)
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_affine",
            (("ACT", tail.code), ("LANES", emit.target.lanes)),
            f"f32_affine{tail.label}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=nbytes(site, emit))]
