"""The CPU kernels, in one table; `nbcnn.lower.select` takes the cheapest that serves a site."""

from __future__ import annotations

from functools import cache

from nbcnn.kernels.base import Backend, Kernel
from nbcnn.kernels.table import load

KERNELS = (
    "depthwise:Depthwise",
    "conv:HaloConv",
    "conv:IndirectConv",
    "conv_transpose:TransposedConv",
    "winograd_family:Winograd4",
    "winograd_family:Winograd2",
    "winograd_family:Winograd6",
    "winograd_family:Winograd2Strided",
    "winograd_family:Winograd4Strided",
    "winograd_family:Winograd2Wide",
    "winograd_family:Winograd4Wide",
    "winograd_family:Winograd1x3",
    "winograd_family:Winograd3x1",
    "winograd_family:Winograd1x7",
    "winograd_family:Winograd7x1",
    "winograd_stem:WinogradStem",
    "sparse:SparseConv",
    "planes:PlanesDepthwise",
    "planes:PlanesPool",
    "planes:PlanesGlobalPool",
    "planes:PlanesUnary",
    "planes:PlanesConcat",
    "conv:Dense",
    "sparse_dense:SparseDense",
    "pool:WindowPool",
    "pool:GlobalPool",
    "elementwise:Unary",
    "elementwise:Binary",
    "elementwise:Affine",
    "softmax:Softmax",
    "norm:RowNorm",
    "norm:PlaneNorm",
    "norm:LocalResponse",
    "views:Alias",
    "views:Concat",
    "views:Parts",
    "transpose:Transpose",
    "gather:Gather",
    "matmul:MatMul",
    "resize:Resize",
    "pad:PadPixels",
    "pad:PadAround",
    "repeat:Repeat",
    "depth_space:DepthSpace",
    "reduce:Reduce",
    "arg:ArgExtremum",
)
"""``module:Class`` below this package."""


@cache
def kernels() -> tuple[Kernel, ...]:
    """One instance of every kernel record."""
    return load(__name__, KERNELS)


@cache
def backend() -> Backend:
    """The CPU as lowering sees it."""
    from nbcnn.kernels.cpu import convert, moves

    return Backend(kernels, convert.view_of, convert.nbytes, convert.convert, moves.move)
