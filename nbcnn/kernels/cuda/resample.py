"""Pixels made of other pixels, named by tables: what resize and pad share. See ``simt/resample.py``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.kernels.base import Emit, Site, Store
from nbcnn.kernels.cuda.base import numbers, plain_step, simt
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.cuda.moves import REACH
from nbcnn.kernels.layouts import Address, View, round_up
from nbcnn.kernels.steps import DeviceArg, DeviceStep
from nbcnn.kernels.taps import Taps
from nbcnn.target import CudaTarget

GROUP = 4
"""Channels of a pixel that a thread makes."""

UNROLLED = (1, 2, 4)
"""Taps of rows and columns that have code of their own: copies, linear, cubic."""

PARAMS = (
    *(("planes", "i32[]"), ("plane_weights", "f32[]"), ("rows", "i32[]"), ("row_weights", "f32[]")),
    *(("columns", "i32[]"), ("column_weights", "f32[]")),
    *numbers("total channels groups fg hg width fw hw height fh hh depth fd hd"),
    *numbers("many_planes many_rows many_columns"),
    *numbers("in_image in_plane in_row in_pixel out_image out_pixel"),
    ("fill", "f32"),
)


def resample(
    site: Site, source: View, target: View, taps: Mapping[int, Taps], fill: float, emit: Emit[CudaTarget]
) -> list[DeviceStep]:
    """Steps that resample the axes in ``taps``, counted from 0 behind the channels; others stay.

    Raises NbcnnError for an image that is too large to count in 32 bits.
    """
    extents = site.in_types[0].extents()[2:]
    missing = 3 - len(extents)  # a signal is an image of one row, an image a volume of one plane
    axes = [taps.get(axis - missing) for axis in range(3)]
    extents = (1,) * missing + tuple(extents)
    tables = [found or Taps.of(np.arange(extent)) for found, extent in zip(axes, extents, strict=True)]
    depth, height, width = (t.points for t in tables)
    _, in_height, in_width = extents
    strides = (
        *(source.image_stride, in_height * in_width * source.pitch, in_width * source.pitch, source.pitch),
        *(target.image_stride, target.pitch),
    )
    channels = target.layout.image[0]  # type: ignore[index]
    groups = round_up(channels, emit.target.lanes) // GROUP
    each = depth * height * width * groups
    most = min((LIMIT - 1) // each, (REACH - 1) // max(source.image_stride, target.image_stride))
    if most < 1:
        raise NbcnnError(
            f"{site.name}: images of {each * GROUP:,} elements are too large for a GPU's kernels"
        )
    counts = tuple(t.count for t in tables)
    unrolled = (counts[0] if counts[0] == 1 else 0, *(n if n in UNROLLED else 0 for n in counts[1:]))
    kind = emit.target.kind
    kernel = simt(
        *("resample", "make", "{}_resample_{}x{}x{}".format(kind, *unrolled)),
        (("source", f"{kind}[]"), ("target", f"{kind}[]"), *PARAMS),
        emit.target,
        **{"KIND": kind, **dict(zip(("PLANES", "ROWS", "COLUMNS"), unrolled, strict=True))},
    )
    steps = []
    for first in range(0, emit.batch, most):
        images = min(most, emit.batch - first)
        args: tuple[DeviceArg, ...] = (
            *(_image(source, first), _image(target, first)),
            *(array for t in tables for array in _arrays(t, emit.store)),
            *(images * each, channels),
            *(word for n in (groups, width, height, depth) for word in (n, *reciprocal(n))),
            *(*counts, *strides, fill),
        )
        moved = images * (source.image_stride + target.image_stride) * emit.target.size
        steps.append(plain_step(site.name, kernel, emit.target, images * each, args, nbytes=moved))
    return steps


def _image(view: View, number: int) -> Address:
    return Address(view.buffer, (view.offset + number * view.image_stride) * view.size)


def _arrays(taps: Taps, store: Store) -> tuple[np.ndarray, ...]:
    """Elements and weights, as many as there are points and taps."""
    pair = taps.index.astype(np.int32), taps.weight.astype(np.float32)
    return tuple(store.get(("tables", "taps", a.dtype.str, a.shape, a.tobytes()), a.copy) for a in pair)
