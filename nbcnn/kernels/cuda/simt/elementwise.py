"""Element-wise kernels: ``act(a op b + res)`` over any broadcast, ``act(x)``, ``act(x * scale + shift)``.

Each walks rows of ``width`` elements side by side. A thread computes EACH elements of a row, ``apart`` from
each other: neighbouring threads have neighbouring elements, and a thread's loads wait together. A *unit* is
what one thread does of one row, ``apart`` units make a row. Those of ``width`` elements behind ``valid`` pad
a pixel: zeros are written there. ``factor`` and ``shift`` divide by ``apart``. All kernels may run in place.
Strides are in elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cuda, float32, int32, uint64

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset

EACH = 4
"""Elements of a row that a thread computes: a divisor of all vectors."""

NONE, BEFORE, AFTER = 0, 1, 2
"""Where `make_binary` adds its third value: nowhere, before the activation, after it."""


def _prelu(x, y):
    return x * y if x < float32(0) else x


def _minimum(x, y):
    return x if x < y or x != x else y


def _maximum(x, y):
    return x if x > y or x != x else y


_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "sub": lambda x, y: x - y,
    "div": lambda x, y: x / y,
    "minimum": _minimum,
    "maximum": _maximum,
    "prelu": _prelu,
}


def _combined(OP: str, ACT: str, RES: int) -> Any:
    """The device function of what `make_binary` does to one element."""
    op, act = cuda.jit(device=True)(_OPS[OP]), activation(ACT)

    @cuda.jit(device=True)
    def combined(x, y, z, a, b):
        value = op(x, y)
        if RES == BEFORE:
            value = value + z
        value = act(value, a, b)
        if RES == AFTER:
            value = value + z
        return value

    return combined


@cuda.jit(device=True)
def _place(c, width):
    """Where to read for element ``c`` of a row: of several that lie behind its end any will do."""
    return int32(c if c < width else width - 1)


def _row_writer(KIND: str) -> Any:
    """``put(array, at, c, width, valid, value)``: element ``c`` of a row that begins at ``at``."""
    write = writer(KIND)

    @cuda.jit(device=True)
    def put(array, at, c, width, valid, value):
        if c < width:
            write(array, at + offset(c, 1), value if c < valid else float32(0))

    return put


def make_unary(ACT: str, KIND: str) -> Callable[..., None]:
    """out = act(x), rows ``x_pitch`` and ``out_pitch`` apart."""
    read, put, act = reader(KIND), _row_writer(KIND), activation(ACT)

    def unary(x, out, units, width, valid, apart, factor, shift, x_pitch, out_pitch, a, b):
        i = cuda.grid(1)
        while i < units:
            row, c0 = digit(i, apart, factor, shift)
            c1, c2, c3 = int32(c0 + apart), int32(c0 + 2 * apart), int32(c0 + 3 * apart)
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            x0 = read(x, at + offset(c0, 1))
            x1 = read(x, at + offset(_place(c1, width), 1))
            x2 = read(x, at + offset(_place(c2, width), 1))
            x3 = read(x, at + offset(_place(c3, width), 1))
            put(out, to, c0, width, valid, act(x0, a, b))
            put(out, to, c1, width, valid, act(x1, a, b))
            put(out, to, c2, width, valid, act(x2, a, b))
            put(out, to, c3, width, valid, act(x3, a, b))
            i += cuda.gridsize(1)

    return unary


def make_affine(ACT: str, KIND: str) -> Callable[..., None]:
    """out = act(x * scales + shifts), a scale and a shift for each element of a row."""
    read, put, act = reader(KIND), _row_writer(KIND), activation(ACT)

    def affine(
        x, out, units, width, valid, apart, factor, shift, x_pitch, out_pitch, a, b, scales, shifts
    ):  # fmt: skip
        i = cuda.grid(1)
        while i < units:
            row, c0 = digit(i, apart, factor, shift)
            c1, c2, c3 = int32(c0 + apart), int32(c0 + 2 * apart), int32(c0 + 3 * apart)
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            x0, x1 = read(x, at + offset(c0, 1)), read(x, at + offset(c1, 1))
            x2, x3 = read(x, at + offset(c2, 1)), read(x, at + offset(c3, 1))
            put(out, to, c0, width, valid, act(x0 * scales[offset(c0, 1)] + shifts[offset(c0, 1)], a, b))
            put(out, to, c1, width, valid, act(x1 * scales[offset(c1, 1)] + shifts[offset(c1, 1)], a, b))
            put(out, to, c2, width, valid, act(x2 * scales[offset(c2, 1)] + shifts[offset(c2, 1)], a, b))
            put(out, to, c3, width, valid, act(x3 * scales[offset(c3, 1)] + shifts[offset(c3, 1)], a, b))
            i += cuda.gridsize(1)

    return affine


def make_binary(
    OP: str, ACT: str, RES: int, KIND: str, KIND_A: str, KIND_B: str, A: int, B: int, LOOPS: int
) -> Callable[..., None]:
    """out = act(left op right + res), or act(left op right) + res.

    A and B: 1 where an operand has an element for each of a row, 0 where it has one number for it. LOOPS
    loops stand around the rows, the fastest first: each an extent n with factor and shift of the division by
    it (in the slowest, 0 for all three: nothing is left to divide), and the strides of left, right, out, res.
    """
    read_a, read_b, read_z = reader(KIND_A), reader(KIND_B), reader(KIND)
    put, combined = _row_writer(KIND), _combined(OP, ACT, RES)

    def binary(
        left, right, out, res, units, width, valid, apart, factor, shift, a, b,
        n0, f0, h0, l0, r0, o0, z0, n1, f1, h1, l1, r1, o1, z1,
        n2, f2, h2, l2, r2, o2, z2, n3, f3, h3, l3, r3, o3, z3,
    ):  # fmt: skip
        i = cuda.grid(1)
        while i < units:
            rest, c0 = digit(i, apart, factor, shift)
            at_l = at_r = at_z = to = uint64(0)
            if LOOPS > 0:
                rest, d = digit(rest, n0, f0, h0)
                at_l, at_r = at_l + offset(d, l0), at_r + offset(d, r0)
                to, at_z = to + offset(d, o0), at_z + offset(d, z0)
            if LOOPS > 1:
                rest, d = digit(rest, n1, f1, h1)
                at_l, at_r = at_l + offset(d, l1), at_r + offset(d, r1)
                to, at_z = to + offset(d, o1), at_z + offset(d, z1)
            if LOOPS > 2:
                rest, d = digit(rest, n2, f2, h2)
                at_l, at_r = at_l + offset(d, l2), at_r + offset(d, r2)
                to, at_z = to + offset(d, o2), at_z + offset(d, z2)
            if LOOPS > 3:
                rest, d = digit(rest, n3, f3, h3)
                at_l, at_r = at_l + offset(d, l3), at_r + offset(d, r3)
                to, at_z = to + offset(d, o3), at_z + offset(d, z3)
            c1, c2, c3 = int32(c0 + apart), int32(c0 + 2 * apart), int32(c0 + 3 * apart)
            p0, p1 = c0, _place(c1, width)
            p2, p3 = _place(c2, width), _place(c3, width)
            x0, y0 = read_a(left, at_l + offset(p0, A)), read_b(right, at_r + offset(p0, B))
            x1, y1 = read_a(left, at_l + offset(p1, A)), read_b(right, at_r + offset(p1, B))
            x2, y2 = read_a(left, at_l + offset(p2, A)), read_b(right, at_r + offset(p2, B))
            x3, y3 = read_a(left, at_l + offset(p3, A)), read_b(right, at_r + offset(p3, B))
            s0 = s1 = s2 = s3 = float32(0)
            if RES != NONE:
                s0, s1 = read_z(res, at_z + offset(p0, 1)), read_z(res, at_z + offset(p1, 1))
                s2, s3 = read_z(res, at_z + offset(p2, 1)), read_z(res, at_z + offset(p3, 1))
            put(out, to, c0, width, valid, combined(x0, y0, s0, a, b))
            put(out, to, c1, width, valid, combined(x1, y1, s1, a, b))
            put(out, to, c2, width, valid, combined(x2, y2, s2, a, b))
            put(out, to, c3, width, valid, combined(x3, y3, s3, a, b))
            i += cuda.gridsize(1)

    return binary
