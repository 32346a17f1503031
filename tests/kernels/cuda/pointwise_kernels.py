"""Plain kernels that go over values element by element or row by row, as their records name them."""

from __future__ import annotations

import numpy as np

from nbcnn.ir import Op, TensorType, Weight
from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cuda import backend, convert
from nbcnn.kernels.cuda.elementwise import Affine, Binary, Unary
from nbcnn.kernels.cuda.norm import LocalResponse, PlaneNorm, RowNorm
from nbcnn.kernels.cuda.softmax import Softmax
from nbcnn.kernels.layouts import Buffer
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.activation import Gelu, Relu
from nbcnn.ops.arithmetic import Div, Mul
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.group_norm import GroupNorm
from nbcnn.ops.layer_norm import LayerNorm
from nbcnn.ops.lrn import Lrn
from nbcnn.ops.softmax import LogSoftmax
from nbcnn.ops.softmax import Softmax as SoftmaxOp
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

IMAGE, GATE = ("N", 61, 14, 14), ("N", 61, 1, 1)
SITES: list[tuple[Kernel, Op, tuple[tuple, ...]]] = [
    (Unary(), Relu(), (IMAGE,)),
    (Unary(), Gelu(), (IMAGE,)),
    (Binary(), Mul(), (IMAGE, GATE)),
    (Binary(), Div(), (IMAGE, IMAGE)),
    (Affine(), BatchNorm(), (IMAGE,)),
    (Softmax(), SoftmaxOp(1), (("N", 21, 64, 64),)),
    (Softmax(), LogSoftmax(1), (("N", 1000),)),
    (Softmax(), SoftmaxOp(1), (("N", 21843),)),
    (RowNorm(), LayerNorm(1), (IMAGE,)),
    (RowNorm(), LayerNorm(1), (("N", 3000),)),
    (PlaneNorm(), GroupNorm(1), (IMAGE,)),
    (LocalResponse(), Lrn(5), (IMAGE,)),
]


def pointwise(targets: dict[str, CudaTarget]) -> list[Simt]:
    """The kernels of each site for each type of images, and of every activation."""
    found = [k for target in targets.values() for site in SITES for k in _kernels(*site, target)]
    unary = next(k for k in found if k.factory.endswith("make_unary"))
    for name in ACTIVATIONS:
        constants = tuple(sorted({**dict(unary.constants), "ACT": name}.items()))
        label = f"{dict(constants)['KIND']}_unary_{name}__simt"
        found.append(Simt(label, unary.factory, constants, unary.params, unary.threads))
    return found


def _kernels(record: Kernel, op: Op, shapes: tuple[tuple, ...], target: CudaTarget) -> list[Simt]:
    types = tuple(TensorType(shape) for shape in shapes)
    weights = tuple(
        (name, Weight.of(np.ones(param.type.extents(), np.float32)))
        for name, param in op.params(*types).items()
    )
    (out,) = op.infer(*types)
    data = tuple(f"x{i}" for i in range(len(types)))
    site = Site("n", op, data, weights, ("y",), types, (out,))
    reads = record.reads(site)
    layouts = (*reads, *record.writes(site, reads))
    views = [
        convert.view_of(Buffer("value", 0), layout, target, type_.elements(1))
        for layout, type_ in zip(layouts, (*types, out), strict=True)
    ]
    emit = Emit(2, target, CompileOptions(), Store(), backend())
    steps = record.steps(site, tuple(views[:-1]), tuple(views[-1:]), emit)
    return [s.kernel for s in steps if isinstance(s, DeviceStep) and isinstance(s.kernel, Simt)]
