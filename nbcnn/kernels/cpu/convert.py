"""Conversions between layouts: the steps that stand between kernels, and at the program's boundary."""

from __future__ import annotations

from nbcnn.kernels.base import F32, Buffer, Emit, Layout, Step, View, round_up
from nbcnn.runtime.codecache import KernelSpec


def view_of(buffer: Buffer, layout: Layout, lanes: int, elements: int) -> View:
    """A view of a whole buffer; ``elements`` per image are needed for plain layouts only."""
    if layout.kind == "plain":
        return View(buffer, layout, elements, elements)
    c, h, w = layout.image  # type: ignore[misc]
    if layout.kind == "halo":
        top, left, bottom, right = layout.pads
        return View(buffer, layout, c, (h + top + bottom) * (w + left + right) * c)
    pitch = round_up(c, lanes)
    return View(buffer, layout, pitch, h * w * pitch)


def nbytes(layout: Layout, lanes: int, batch: int, elements: int) -> int:
    """Bytes of a value in ``layout``; ``elements`` is its size at this batch for plain layouts."""
    if layout.kind == "plain":
        return elements * F32
    return batch * view_of(Buffer("", 0), layout, lanes, 0).image_stride * F32


def convert(site: str, source: View, target: View, emit: Emit) -> list[Step]:
    """Steps that copy a value from ``source`` into ``target``, whose layout differs."""
    lanes, batch = emit.target.lanes, emit.batch
    if source.layout.kind == "plain":
        c, h, w = target.layout.image  # type: ignore[misc]
        halo = target.layout.kind == "halo"
        top, left, bottom, right = target.layout.pads
        args = (
            *(source.address, target.address, batch, c, h, w, top, left),
            *(h + top + bottom, w + left + right, target.pitch),
            *(c if halo else round_up(c, lanes), target.image_stride),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.layout:make_from_nchw",
            (("LANES", lanes),),
            f"f32_from_nchw__{emit.target.isa}",
        )
        return [Step(site, spec, args, nbytes=8 * batch * c * h * w, conversion=True)]
    if target.layout.kind == "plain":
        c, h, w = source.layout.image  # type: ignore[misc]
        args = (
            *(source.address, target.address, batch, c, h * w, source.pitch),
            *(source.image_stride, target.image_stride),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.layout:make_to_nchw",
            (("LANES", lanes),),
            f"f32_to_nchw__{emit.target.isa}",
        )
        return [Step(site, spec, args, nbytes=8 * batch * c * h * w, conversion=True)]
    raise AssertionError(f"{source.layout} to {target.layout} goes through plain")
