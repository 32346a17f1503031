"""Element by element: two values with broadcasting, activations, batch norm standing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbcnn.errors import NbcnnError
from nbcnn.ir.types import TensorType
from nbcnn.kernels import elementwise
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import Names, numbers, plain_step, simt, stored, streamed
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.elementwise import LOOPS, Loop, Operand, last_activation, nbytes
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import PLAIN, View, round_up
from nbcnn.kernels.steps import DeviceStep
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

EACH = 4
"""Elements of a row that a thread computes (``simt/elementwise.py``)."""


@dataclass(frozen=True)
class Rows:
    """Rows of ``width`` elements side by side, of which ``valid`` are no padding."""

    count: int
    width: int
    valid: int

    PARAMS = numbers("units width valid apart factor shift")

    @property
    def apart(self) -> int:
        """How far apart the elements of one thread lie, and how many threads share a row."""
        return -(-self.width // EACH)

    @property
    def units(self) -> int:
        """Shares of all threads. Raises NbcnnError for more than the kernels can count."""
        units = self.count * self.apart
        if max(units, self.width) > LIMIT:
            raise NbcnnError(f"{self.count:,} rows of {self.width:,} elements are too many for one launch")
        return units

    @property
    def args(self) -> tuple[int, ...]:
        return (self.units, self.width, self.valid, self.apart, *reciprocal(max(self.apart, 1)))


def rows_of(view: View, type_: TensorType, emit: Emit[CudaTarget]) -> tuple[Rows, int]:
    """A view as rows, and how far apart these lie: pixels, or one row of all plain values."""
    if view.layout == PLAIN:
        size = type_.elements(emit.batch)
        return Rows(1, size, size), 0
    c, h, w = view.layout.image  # type: ignore[misc]
    return Rows(emit.batch * h * w, round_up(c, emit.target.lanes), c), view.pitch


def activated(tail: Epilogue) -> str:
    """The activation by name; none where nothing is clamped."""
    return tail.activation if tail.applies else "none"


def label_of(tail: Epilogue) -> str:
    """What a kernel's name says of its activation."""
    return f"_{activated(tail)}" if tail.applies else ""


class Unary(elementwise.Unary[CudaTarget]):
    """An activation alone."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), tail = ins, outs, self.activation(site)
        return [_rowwise("unary", site, x, out, tail, emit)]


class Affine(elementwise.Affine[CudaTarget]):
    """batch_norm standing alone."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), (scale, shift) = ins, outs, self.vectors(site, emit)
        more = (("scales", "f32[]"), ("shifts", "f32[]"))
        return [_rowwise("affine", site, x, out, last_activation(site), emit, more, (scale, shift))]


def _rowwise(
    name: str,
    site: Site,
    x: View,
    out: View,
    tail: Epilogue,
    emit: Emit[CudaTarget],
    more: Names = (),
    arrays: tuple[Any, ...] = (),
) -> DeviceStep:
    """The launch of ``make_<name>`` on the rows of ``x``; ``more`` parameters hold ``arrays``."""
    target, kind = emit.target, stored(x, emit.target)
    rows, pitch = rows_of(x, site.in_types[0], emit)
    out_pitch = 0 if out.layout == PLAIN else out.pitch
    params = (
        *(("x", f"{kind}[]"), ("out", f"{kind}[]")),
        *(*Rows.PARAMS, *numbers("x_pitch out_pitch"), ("a", "f32"), ("b", "f32"), *more),
    )
    label = f"{kind}_{name}{label_of(tail)}"
    kernel = simt("elementwise", f"make_{name}", label, params, target, ACT=activated(tail), KIND=kind)
    args = (x.address, out.address, *rows.args, pitch, out_pitch, tail.a, tail.b, *arrays)
    return plain_step(site.name, kernel, target, rows.units, args, nbytes=nbytes(site, emit))


class Binary(elementwise.Binary[CudaTarget]):
    """Arithmetic on two values."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (out,), target = outs, emit.target
        walk = elementwise.walk(site, ins, out, emit, lambda channels: channels % target.lanes == 0)
        count = 1
        for loop in walk.loops:
            count *= loop.extent
        channels = site.out_types[0].extents()[1] if out.layout != PLAIN else 0
        padded = out.layout != PLAIN and channels % target.lanes != 0
        rows = Rows(count, walk.row.extent, channels if padded else walk.row.extent)
        kernel = _binary(walk, stored(out, target), target)
        starts = (operand.start for operand in walk.operands)
        args = (*starts, *rows.args, walk.tail.a, walk.tail.b, *_counted(walk.loops))
        return [plain_step(site.name, kernel, target, rows.units, args, nbytes=nbytes(site, emit))]


def _binary(walk: elementwise.Walk, kind: str, target: CudaTarget) -> Simt:
    """The kernel for what a site computes and how its operands lie."""
    left, right, *_ = walk.operands
    kinds = [_operand_kind(operand, kind) for operand in (left, right)]
    a, b, *_ = walk.row.strides
    tail, operator, loops = walk.tail, walk.main.op.name, len(walk.loops)
    forms = "_".join(f"{k}{'s' * one}" for k, one in zip(kinds, (a, b), strict=True))
    residual = ("", "_res", "_resafter")[tail.order]
    label = f"{kind}_{operator}{label_of(tail)}{residual}_{forms}_{loops}"
    params = (
        *zip(("left", "right", "out", "res"), (f"{k}[]" for k in (*kinds, kind, kind)), strict=True),
        *(*Rows.PARAMS, ("a", "f32"), ("b", "f32")),
        *numbers(" ".join(f"n{k} f{k} h{k} l{k} r{k} o{k} z{k}" for k in range(LOOPS))),
    )
    return simt(
        *("elementwise", "make_binary", label, params, target),
        **{"OP": operator, "ACT": activated(tail), "RES": tail.order, "LOOPS": loops},
        **{"KIND": kind, "KIND_A": kinds[0], "KIND_B": kinds[1], "A": a, "B": b},
    )


def _operand_kind(operand: Operand, kind: str) -> str:
    return "f32" if operand.packed else kind


def _counted(loops: Sequence[Loop]) -> list[int]:
    """Seven numbers for each of `LOOPS` loops, fastest first; those that there are not have only zeros."""
    words: list[int] = []
    for place, loop in enumerate(loops):
        if max(loop.strides) >= 1 << 31:
            raise NbcnnError(f"images of {max(loop.strides):,} elements are too large: strides have 32 bits")
        divided = (loop.extent, *reciprocal(loop.extent)) if place else (0, 0, 0)
        words[:0] = [*divided, *loop.strides]
    return words + [0] * (7 * LOOPS - len(words))
