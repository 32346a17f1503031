"""Operators that move nothing: their output is their input, read otherwise; and concatenation."""

from __future__ import annotations

from nbcnn.kernels.base import PLAIN, Emit, Kernel, Layout, Site, Step, View, nhwc
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Alias(Kernel):
    """dropout (nothing at inference), flatten of an image (it stays as it lies), reshape."""

    name = "alias"
    aliases = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name in ("dropout", "flatten", "reshape"):
            return None
        return f"{site.op.name} computes something"

    def cost(self, site: Site, target: Target) -> float:
        return 0.0

    def _keeps(self, site: Site) -> bool:
        """Whether the value may stay in its NHWC layout: rows remain rows of the same image."""
        source, result = site.in_types[0], site.out_types[0]
        flat = result.rank == 2 and nhwc(source).image is not None and source.shape[0] == result.shape[0]
        return source == result or flat

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (nhwc(site.in_types[0]),) if self._keeps(site) else (PLAIN,)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind == "nhwc" if self._keeps(site) else layout == PLAIN

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> Layout:
        return ins[0]

    def steps(self, site: Site, ins: tuple[View, ...], out: View, emit: Emit) -> list[Step]:
        return []


class Concat(Kernel):
    """Concatenation along channels: operands that were computed in place cost nothing, others a copy."""

    name = "concat"

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "concat":
            return f"{site.op.name} is no concat"
        rank = site.out_types[0].rank
        if nhwc(site.out_types[0]).image is None or site.op.axis % rank != 1:  # type: ignore[attr-defined]
            return "only the channel axis of [N, C, H, W] and [N, F] is supported"
        return None

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def offsets(self, site: Site) -> tuple[int, ...]:
        """The first channel of each operand in the output."""
        starts, at = [], 0
        for type_ in site.in_types:
            starts.append(at)
            at += int(type_.shape[1])
        return tuple(starts)

    def steps(self, site: Site, ins: tuple[View, ...], out: View, emit: Emit) -> list[Step]:
        steps = []
        for view, start in zip(ins, self.offsets(site), strict=True):
            if view.buffer is out.buffer and view.offset == out.offset + start:
                continue
            c, h, w = view.layout.image  # type: ignore[misc]
            target = View(out.buffer, out.layout, out.pitch, out.image_stride, out.offset + start)
            rows = emit.batch * h * w
            args = (view.address, target.address, rows, c, view.pitch, out.pitch)
            spec = KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")
            steps.append(Step(site.name, spec, args, nbytes=8 * rows * c))
        return steps
