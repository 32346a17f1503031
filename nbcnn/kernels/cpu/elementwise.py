"""Element by element: sums and products of two values, activations, batch norm standing alone."""

from __future__ import annotations

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit, Kernel, Layout, Site, Step, View, nhwc, round_up
from nbcnn.kernels.cpu import epilogue
from nbcnn.kernels.cpu.epilogue import Epilogue
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

EVERY_ROW = 1 << 62
"""A row divisor so large that every row reads row 0."""


def _bytes(site: Site, emit: Emit) -> int:
    return sum(t.nbytes(emit.batch) for t in (*site.in_types, *site.out_types))


def _rows(view: View, lanes: int, batch: int) -> tuple[int, int, int]:
    """(rows, width, pitch) of an NHWC view whose images follow each other without gaps."""
    c, h, w = view.layout.image  # type: ignore[misc]
    return batch * h * w, round_up(c, lanes), view.pitch


class Unary(Kernel):
    """An activation alone; it works on any NHWC layout, a flattened image too."""

    name = "unary"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if len(site.body) == 1 and epilogue.activation(site.op) is not None:
            return (
                "only [N, C, H, W] and [N, F] are vectorised"
                if nhwc(site.in_types[0]).image is None
                else None
            )
        return f"{site.op.name} is no activation"

    def cost(self, site: Site, target: Target) -> float:
        return site.in_types[0].elements() * 1e-10

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind == "nhwc"

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins[:1]

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        lanes = emit.target.lanes
        tail = epilogue.activation(site.op)
        assert tail is not None
        rows, width, pitch = _rows(ins[0], lanes, emit.batch)
        args = (ins[0].address, out.address, rows, width, pitch, out.pitch, *tail.args)
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_unary",
            (("ACT", tail.code), ("LANES", lanes)),
            f"f32_{tail.activation}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


class Binary(Kernel):
    """add and mul, with an activation behind; the second operand may be one pixel per image."""

    name = "binary"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        main, *rest = site.body
        if main.op.name not in ("add", "mul"):
            return f"{main.op.name} is neither add nor mul"
        if len(rest) > 1 or (rest and epilogue.activation(rest[0].op) is None):
            return "more than one activation follows"
        operands = [site.actual(v) for v in main.inputs]
        if any(v not in site.data for v in operands):
            return "an operand is no data operand"
        types = [site.type(v) for v in operands]
        if nhwc(site.out_types[0]).image is None:
            return "only [N, C, H, W] and [N, F] are vectorised"
        if site.out_types[0] not in types or not all(_spread(t, site.out_types[0]) for t in types):
            return f"the shapes {types[0]} and {types[1]} broadcast in a way that is not vectorised"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, *rest = site.body
        lanes = emit.target.lanes
        tail = (epilogue.activation(rest[0].op) if rest else None) or Epilogue()
        a, b = (ins[site.data.index(site.actual(v))] for v in main.inputs)
        if a.layout.image != out.layout.image:  # add and mul commute: the full operand goes first
            a, b = b, a
        rows, width, pitch = _rows(a, lanes, emit.batch)
        divisor = rows // (_rows(b, lanes, emit.batch)[0])
        args = (
            *(a.address, b.address, out.address),
            *(rows, width, pitch, b.pitch, out.pitch),
            divisor,
            *tail.args,
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_binary",
            (("OP", 0 if main.op.name == "add" else 1), ("ACT", tail.code), ("LANES", lanes)),
            f"f32_{main.op.name}{tail.label}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]


def _spread(type_: TensorType, out: TensorType) -> bool:
    """Whether an operand is the full output, or one pixel per image of it."""
    if type_ == out:
        return True
    return out.rank == 4 and type_.shape == (*out.shape[:2], 1, 1)


class Affine(Kernel):
    """batch_norm that could not be folded away: x * scale[c] + shift[c]."""

    name = "affine"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        main, *rest = site.body
        if main.op.name != "batch_norm":
            return f"{main.op.name} is no batch_norm"
        if len(rest) > 1 or (rest and epilogue.activation(rest[0].op) is None):
            return "more than one activation follows"
        return None if nhwc(site.in_types[0]).image else "only [N, C, H, W] and [N, F] are vectorised"

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,) = outs
        main, *rest = site.body
        lanes = emit.target.lanes
        tail = (epilogue.activation(rest[0].op) if rest else None) or Epilogue()
        weights = tuple(site.weight(name) for name in main.weights)
        epsilon = main.op.epsilon  # type: ignore[attr-defined]

        def pack() -> np.ndarray:
            gamma, beta, mean, variance = (w.array.astype(np.float64) for w in weights)
            scale = gamma / np.sqrt(variance + epsilon)
            packed = np.zeros((2, round_up(len(scale), lanes)), np.float32)
            packed[0, : len(scale)] = scale
            packed[1, : len(scale)] = beta - mean * scale
            return packed

        packed = emit.store.get(("weights", "affine", weights, epsilon, lanes), pack)
        rows, width, pitch = _rows(ins[0], lanes, emit.batch)
        args = (
            *(ins[0].address, out.address, rows, width, pitch, out.pitch),
            *(packed[0], packed[1], *tail.args),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.elementwise:make_affine",
            (("ACT", tail.code), ("LANES", lanes)),
            f"f32_affine{tail.label}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, nbytes=_bytes(site, emit))]
