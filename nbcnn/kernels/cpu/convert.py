"""Conversions between layouts: the steps that stand between kernels, and at the program's boundary."""

from __future__ import annotations

import numpy as np

from nbcnn.ir.types import BATCH, TensorType
from nbcnn.kernels.base import Emit
from nbcnn.kernels.layouts import F32, PLAIN, Buffer, Layout, View, round_up
from nbcnn.kernels.steps import Arg, PythonStep, Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


def view_of(buffer: Buffer, layout: Layout, target: Target, elements: int) -> View:
    """A view of a whole buffer; ``elements`` per image are needed for plain layouts only."""
    lanes = target.lanes
    if layout.kind == "plain":
        return View(buffer, layout, elements, elements)
    c, h, w = layout.image  # type: ignore[misc]
    if layout.kind == "halo":
        top, left, bottom, right = layout.pads
        return View(buffer, layout, c, (h + top + bottom) * (w + left + right) * c)
    if layout.kind == "planes":
        pitch = round_up(h * w, lanes)
        return View(buffer, layout, pitch, c * pitch)
    pitch = round_up(c, lanes)
    return View(buffer, layout, pitch, h * w * pitch)


def nbytes(layout: Layout, target: Target, batch: int, type_: TensorType) -> int:
    """Bytes of a value of ``type_`` in ``layout``."""
    if layout.kind == "plain":
        return type_.nbytes(batch)
    return batch * view_of(Buffer("", 0), layout, target, 0).image_stride * F32


def convert(
    site: str, source: View, target: View, type_: TensorType, emit: Emit
) -> list[Step] | list[PythonStep]:
    """Steps that copy a value from ``source`` into ``target``, whose layout differs unless both are plain."""
    if type_.dtype != "float32":
        bound = type_.bind({BATCH: emit.batch})
        return [PythonStep(site, _same, ((source, bound),), (), ((target, bound),), True)]
    if source.layout == target.layout == PLAIN:
        size = type_.elements(emit.batch)
        spec = KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")
        args = (source.address, target.address, 1, size, size, size)
        return [Step(site, spec, args, nbytes=2 * F32 * size, conversion=True)]
    image = target.layout.image or source.layout.image
    by_pixel = [v.layout.kind in ("nhwc", "halo") for v in (source, target)]
    assert image and by_pixel != [True, True], f"{source.layout} to {target.layout} goes through plain"
    c, h, w = image
    batch, lanes = emit.batch, emit.target.lanes
    if by_pixel[1]:
        halo = target.layout.kind == "halo"
        top, left, bottom, right = target.layout.pads
        name: str = "from_nchw"
        args: tuple[Arg, ...] = (
            *(source.address, target.address, batch, c, h, w, top, left),
            *(h + top + bottom, w + left + right, target.pitch),
            *(c if halo else round_up(c, lanes), target.image_stride, plane_pitch(source, h * w)),
        )
    elif by_pixel[0]:
        name = "to_nchw"
        args = (
            *(source.address, target.address, batch, c, h * w, source.pitch),
            *(source.image_stride, target.image_stride, plane_pitch(target, h * w)),
        )
    else:
        pitches = plane_pitch(source, h * w), plane_pitch(target, h * w)
        spec = KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")
        args = (source.address, target.address, batch * c, h * w, *pitches)
        return [Step(site, spec, args, nbytes=8 * batch * c * h * w, conversion=True)]
    spec = KernelSpec(
        f"nbcnn.kernels.cpu.code.layout:make_{name}", (("LANES", lanes),), f"f32_{name}__{emit.target.isa}"
    )
    return [Step(site, spec, args, nbytes=8 * batch * c * h * w, conversion=True)]


def _same(array: np.ndarray) -> tuple[np.ndarray]:
    return (array,)


def plane_pitch(view: View, pixels: int) -> int:
    """The distance of two channels of a value that lies as whole channels (plain or ``planes``)."""
    return pixels if view.layout.kind == "plain" else view.pitch
