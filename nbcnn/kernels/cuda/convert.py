"""Conversions between layouts: the steps that stand between kernels, and at the program's boundary."""

from __future__ import annotations

import math

from nbcnn.ir.types import BATCH, TensorType
from nbcnn.kernels.base import Emit
from nbcnn.kernels.cuda import moves
from nbcnn.kernels.layouts import F32, PLAIN, Buffer, Layout, View
from nbcnn.kernels.orders import matched, strides
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget


def view_of(buffer: Buffer, layout: Layout, target: CudaTarget, elements: int) -> View:
    """A view of a whole buffer; ``elements`` per image are needed for plain layouts only."""
    if layout == PLAIN:
        return View(buffer, layout, elements, elements, size=F32)
    _, h, w = layout.image  # type: ignore[misc]
    pitch = moves.padded(layout, target)
    return View(buffer, layout, pitch, h * w * pitch, size=target.size)


def nbytes(layout: Layout, target: CudaTarget, batch: int, type_: TensorType) -> int:
    """Bytes of a value of ``type_`` in ``layout``."""
    if layout == PLAIN:
        return type_.nbytes(batch)
    return batch * view_of(Buffer("", 0), layout, target, 0).image_stride * target.size


def convert(
    site: str, source: View, target: View, type_: TensorType, emit: Emit[CudaTarget]
) -> list[DeviceStep]:
    """Steps that copy a value from ``source`` into ``target``, whose layout differs unless both are plain."""
    if source.layout == target.layout == PLAIN:
        return moves.copy(site, source, target, type_.bind({BATCH: emit.batch}).nbytes(), emit, True)
    image = target.layout.image or source.layout.image
    assert image and PLAIN in (source.layout, target.layout), f"{source.layout} to {target.layout}"
    elements = math.prod(image)
    a, b = (strides(view.layout, elements, view.pitch) for view in (source, target))
    axes = matched([a], [b], emit.batch, (source.image_stride, target.image_stride))
    assert axes is not None
    return moves.move(site, source, target, axes, emit, conversion=True)
