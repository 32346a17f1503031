"""The plain kernels that move data, out of the steps that they are launched by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from nbcnn.ir import Op
from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cuda import backend
from nbcnn.kernels.cuda.gather import Gather as GatherRecord
from nbcnn.kernels.cuda.pad import PadPixels
from nbcnn.kernels.cuda.resize import Resize as ResizeRecord
from nbcnn.kernels.cuda.transpose import Transpose as TransposeRecord
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.gather import Gather
from nbcnn.ops.pad import Pad
from nbcnn.ops.resize import Resize
from nbcnn.ops.transpose import Transpose
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

IMAGE = TensorType(("N", 64, 56, 56))
SITES: list[tuple[Kernel, Op]] = [
    (TransposeRecord(), Transpose((0, 3, 2, 1))),
    (PadPixels(), Pad((1, 1))),
    (ResizeRecord(), Resize((2.0, 2.0), mode="linear")),
    (ResizeRecord(), Resize((2.0, 2.0), mode="cubic")),
    (ResizeRecord(), Resize((0.3, 0.4), mode="linear", antialias=True)),
]


def moves(targets: Mapping[str, CudaTarget]) -> list[Simt]:
    """One for each way to move, for each type of images."""
    return [
        step.kernel
        for target in targets.values()
        for step in _steps(Emit(8, target, CompileOptions(), Store(), backend()))
        if isinstance(step.kernel, Simt)
    ]


def _view(emit: Emit, type_: TensorType, layout: Layout) -> View:
    each = type_.elements(emit.batch) // emit.batch
    return emit.backend.view(Buffer("x", 0), layout, emit.target, each)


def _steps(emit: Emit) -> Iterator[DeviceStep]:
    found: list = []
    for type_, layout in (
        *((IMAGE, nhwc(IMAGE)), (TensorType(("N", 1000)), nhwc(TensorType(("N", 1000))))),
        (TensorType(("N", 3, 224, 224)), Layout("pixels4", (3, 224, 224))),
        (IMAGE, PLAIN),
    ):
        plain, pixels = _view(emit, type_, PLAIN), _view(emit, type_, layout)
        found += emit.backend.convert("x", plain, pixels, type_, emit)
        found += emit.backend.convert("x", pixels, plain, type_, emit)
    turned = TensorType(("N", 2, 3, 5, 7, 9))
    for kernel, op, type_ in (
        *((kernel, op, IMAGE) for kernel, op in SITES),
        (TransposeRecord(), Transpose((0, 5, 4, 3, 2, 1)), turned),
    ):
        (out,) = op.infer(type_)
        site = Site("y", op, ("x",), (), ("y",), (type_,), (out,))
        found += kernel.steps(site, (_view(emit, type_, nhwc(type_)),), (_view(emit, out, nhwc(out)),), emit)
    table, result = TensorType((9, 64)), TensorType(("N", 7, 64))
    for dtype in ("int32", "int64"):
        words = TensorType(("N", 7), dtype)
        site = Site("y", Gather(0), ("t", "x"), (), ("y",), (table, words), (result,), constants=("t",))
        known = View(Buffer("x", 0, array=np.zeros((8, 7), dtype)), PLAIN, 7, 7)
        ins = _view(emit, table, PLAIN), known
        found += GatherRecord().steps(site, ins, (_view(emit, result, PLAIN),), emit)
    yield from (step for step in found if isinstance(step, DeviceStep))
