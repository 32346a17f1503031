"""Kernels for NVIDIA GPUs, in two tiers, and the records that lowering chooses from.

``code`` holds the tensor-core tier, written against instruction tables (`nbcnn.runtime.cuda.ptx`) and
proved by an emulator (tests/kernels/cuda): `shapes` and `configs` say what there is, `problem` and
`packing` are the host's side. ``simt`` holds plain Numba kernels for everything else, which run in Numba's
simulator too.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nbcnn.kernels.table import load

if TYPE_CHECKING:
    from nbcnn.kernels.base import Backend, Kernel

KERNELS: tuple[str, ...] = (
    "tensor_depthwise:TensorDepthwise",
    "tensor_conv:TensorStem",
    "tensor_conv:TensorConv",
    "tensor_conv:TensorDense",
    "tensor_transpose:TensorTranspose",
    "simt_conv:SimtConv",
    "simt_conv:SimtDense",
    "simt_depthwise:SimtDepthwise",
    "conv_transpose:SimtConvTranspose",
    "elementwise:Unary",
    "elementwise:Binary",
    "elementwise:Affine",
    "softmax:Softmax",
    "norm:RowNorm",
    "norm:PlaneNorm",
    "norm:LocalResponse",
    "pool:WindowPool",
    "pool:GlobalPool",
    "reduce:Reduce",
    "arg:ArgExtremum",
    "matmul:MatMul",
    "views:Alias",
    "views:Concat",
    "views:Parts",
    "transpose:Transpose",
    "repeat:Repeat",
    "depth_space:DepthSpace",
    "pad:PadPixels",
    "pad:PadAround",
    "resize:Resize",
    "gather:Gather",
)
"""``module:Class`` below this package; of kernels that can serve a site the cheapest is taken."""


@cache
def kernels() -> tuple[Kernel, ...]:
    """One instance of every kernel record."""
    return load(__name__, KERNELS)


@cache
def backend() -> Backend:
    """A GPU as lowering sees it."""
    from nbcnn.kernels.base import Backend
    from nbcnn.kernels.cuda import convert, moves

    return Backend(kernels, convert.view_of, convert.nbytes, convert.convert, moves.move)
