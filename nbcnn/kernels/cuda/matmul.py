"""matmul of two values, or of a value and a constant, over any axes before the matrices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isqrt

from nbcnn.errors import NbcnnError
from nbcnn.kernels import matmul
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import numbers, pixel_pitch, plain_step, simt, stored, streamed
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.layouts import PLAIN, View
from nbcnn.kernels.matmul import Pairs, pitch
from nbcnn.kernels.steps import DeviceStep
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

MOST_AXES = 4
"""Axes of pairs that the kernel counts."""

REACH = 1 << 32
"""Elements of a matrix."""

PRODUCTS = 2e13
"""Products in a second."""

AxisOfPairs = tuple[int, int, int, int]
"""Extent, and strides in left, right and result."""


class MatMul(matmul.MatMul[CudaTarget]):
    """Each pair of matrices is multiplied where it lies, in float32."""

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        reason = super().refuse(site, target, options)
        if reason is None and len(merged(Pairs.of(site, 2).axes)) > MOST_AXES:
            reason = f"pairs of matrices along more than {MOST_AXES} axes are not counted"
        return reason

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target) + site.macs / PRODUCTS

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (a, b), (out,), target = ins, outs, emit.target
        pairs = Pairs.of(site, emit.batch)
        wide = pairs.cols if out.layout == PLAIN else pixel_pitch(pairs.cols, target)
        side = isqrt(target.threads)
        each = min((8, 4, 2, 1), key=lambda n: _time(pairs, wide, n, target))
        across, down = -(-wide // (side * each)), -(-pairs.rows // (side * each))
        tiles = across * down * pairs.count
        most = max(pairs.rows * pitch(a, site.in_types[0]), pairs.depth * pairs.cols)
        if max(tiles, wide, pairs.rows, pairs.depth) > LIMIT or most > REACH:
            raise NbcnnError(f"{site.in_types[0]} times {site.in_types[1]} is too large for one launch")
        kinds = stored(a, target), stored(out, target)
        arrays = zip(("left", "right", "result"), (kinds[0], "f32", kinds[1]), strict=True)
        params = (
            *((name, f"{kind}[]") for name, kind in arrays),
            *numbers("tiles rows depth cols wide left_pitch right_pitch result_pitch"),
            *numbers("across across_factor across_shift down down_factor down_shift"),
            *numbers(" ".join(f"{word}{k}" for k in range(MOST_AXES) for word in "nfhabc")),
        )
        kernel = simt(
            *("matmul", "make", f"{'_'.join(kinds)}_matmul_{side * each}", params, target),
            **{"LEFT": kinds[0], "RESULT": kinds[1], "EACH": each, "THREADS": target.threads},
        )
        found = merged(pairs.axes)
        axes = [*reversed(found), *[(1, 0, 0, 0)] * (MOST_AXES - len(found))]
        kernel = replace(kernel, blocks=2)  # or the loads of a tile would take all registers
        args = (
            *(a.address, b.address, out.address, tiles, pairs.rows, pairs.depth, pairs.cols, wide),
            *(pitch(a, site.in_types[0]), pairs.cols, pitch(out, site.out_types[0])),
            *(across, *reciprocal(across), down, *reciprocal(down)),
            *(word for n, *strides in axes for word in (n, *reciprocal(n), *strides)),
        )
        macs = pairs.count * pairs.rows * pairs.depth * pairs.cols
        nbytes = sum(
            v.size * t.elements(emit.batch)
            for v, t in zip((*ins, out), (*site.in_types, *site.out_types), strict=True)
        )
        units = tiles * target.threads
        return [plain_step(site.name, kernel, target, units, args, macs=macs, nbytes=nbytes)]


def merged(axes: Iterable[AxisOfPairs]) -> list[AxisOfPairs]:
    """The axes, slowest first, those that are one axis in all three matrices joined; none of extent 1."""
    found: list[AxisOfPairs] = []
    for axis in axes:
        n, left, right, result = axis
        if n > 1 and found and found[-1][1:] == (n * left, n * right, n * result):
            found[-1] = (found[-1][0] * n, left, right, result)
        elif n > 1:
            found.append(axis)
    return found


def _time(pairs: Pairs, wide: int, each: int, target: CudaTarget) -> float:
    """Cycles of a multiprocessor for a step along the depth of its tiles, ``each`` squared to a thread."""
    tile = each * isqrt(target.threads)
    tiles = -(-wide // tile) * -(-pairs.rows // tile) * pairs.count
    return -(-tiles // target.multiprocessors) * max(each * each / 4, 2 * each)
