"""Plain kernels of pools, reductions, extrema and products of values, as their records name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nbcnn.ir import Op, TensorType
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cuda import backend
from nbcnn.kernels.cuda.arg import ArgExtremum
from nbcnn.kernels.cuda.matmul import MatMul as MatMulRecord
from nbcnn.kernels.cuda.pool import GlobalPool, WindowPool
from nbcnn.kernels.cuda.reduce import Reduce
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.matmul import MatMul
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.rank import ArgMax, ArgMin
from nbcnn.ops.reduce import ReduceL2, ReduceLogSum, ReduceMean, ReduceMin
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

IMAGE = ("N", 61, 56, 56)
SITES: list[tuple[Kernel, Op, tuple[tuple, ...], int]] = [
    (WindowPool(), MaxPool(3, 2, 1), (IMAGE,), 8),
    (WindowPool(), MaxPool(2), (IMAGE,), 8),
    (WindowPool(), MaxPool(2), (("N", 8, 4, 6, 6),), 8),
    (WindowPool(), AvgPool(3, 1, 1, count_include_pad=True), (IMAGE,), 8),
    (GlobalPool(), GlobalAvgPool(), (IMAGE,), 1),
    (GlobalPool(), GlobalMaxPool(), (IMAGE,), 64),
    (Reduce(), ReduceMean((1,)), (IMAGE,), 8),
    (Reduce(), ReduceL2((1, 3)), (IMAGE,), 8),
    (Reduce(), ReduceLogSum((1, 2, 4)), (("N", 3, 4, 5, 6),), 8),
    (Reduce(), ReduceMin((2,)), (IMAGE,), 8),
    (ArgExtremum(), ArgMax(1), (("N", 21, 64, 64),), 8),
    (ArgExtremum(), ArgMin(1, last=True), (("N", 1000),), 8),
    (MatMulRecord(), MatMul(), (("N", 2048, 64), ("N", 64, 2048)), 8),
    (MatMulRecord(), MatMul(), (("N", 256, 64), ("N", 64, 256)), 8),
    (MatMulRecord(), MatMul(), (("N", 128, 64), ("N", 64, 128)), 8),
    (MatMulRecord(), MatMul(), (("N", 60, 64), ("N", 64, 60)), 8),
    (MatMulRecord(), MatMul(), (("N", 61), (61, 61)), 8),
]


def reducing(targets: Mapping[str, CudaTarget]) -> list[Simt]:
    """The kernels of each site, for each type of images."""
    return [kernel for target in targets.values() for site in SITES for kernel in _kernels(*site, target)]


def _kernels(
    record: Kernel, op: Op, shapes: tuple[tuple, ...], batch: int, target: CudaTarget
) -> Iterator[Simt]:
    types = tuple(TensorType(shape) for shape in shapes)
    outs = op.infer(*types)
    site = Site("n", op, tuple(f"x{i}" for i in range(len(types))), (), ("y",), types, outs)
    emit = Emit(batch, target, CompileOptions(), Store(), backend())
    wanted = [nhwc(t) if t.rank != 3 else PLAIN for t in types]
    layouts = [layout if record.accepts(site, slot, layout) else PLAIN for slot, layout in enumerate(wanted)]
    ins = tuple(_view(emit, *pair) for pair in zip(types, layouts, strict=True))
    written = zip(outs, record.writes(site, tuple(layouts)), strict=True)
    for step in record.steps(site, ins, tuple(_view(emit, *pair) for pair in written), emit):
        assert isinstance(step, DeviceStep) and isinstance(step.kernel, Simt)
        yield step.kernel


def _view(emit: Emit[CudaTarget], type_: TensorType, layout: Layout) -> View:
    each = type_.elements(emit.batch) // emit.batch
    return emit.backend.view(Buffer("x", 0), layout, emit.target, each)
