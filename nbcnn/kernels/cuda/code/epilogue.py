"""From sums in registers to bytes in memory: bias, residual, activation, all in float32; one rounding.

Fragments of ``mma.sync`` and of ``wgmma`` look alike: of every 8 columns a lane holds two neighbours
in row ``lane / 4`` and two in the row 8 below. A warp therefore turns its own 16 rows through 16 rows
of its own shared memory, without the other warps, and writes whole 16-byte vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbcnn.kernels.cuda.code.activations import activate
from nbcnn.kernels.cuda.shapes import KINDS, Epilogue


@dataclass(frozen=True)
class Operands:
    """What an epilogue reads, as values of the emitter; pitches in bytes, ``rows`` x ``columns`` results."""

    bias: Any
    scale: Any
    residual: Any
    out: Any
    rows: Any
    columns: Any
    residual_pitch: Any
    out_pitch: Any
    floats: Any  # a, b, residual_scale, out_scale


def unpack(e: Any, kind: str, words: list[Any]) -> list[Any]:
    """The float32 values of 32-bit words of ``kind``, lowest first."""
    values: list[Any] = []
    for word in words:
        match kind:
            case "f16":
                values += e.op("from_f16x2", word)
            case "bf16":
                values += [e.as_float(e.shl(word, 16)), e.as_float(e.and_(word, 0xFFFF0000))]
            case "s8":
                values += e.op("from_s8x4", word)
            case _:
                values.append(e.as_float(word))
    return values


def pack(e: Any, kind: str, values: list[Any]) -> list[Any]:
    """Four 32-bit words of 16 bytes of ``kind``: rounded to nearest even; s8 saturates."""
    match kind:
        case "f16" | "bf16":
            return [e.op(f"to_{kind}x2", *values[i : i + 2]) for i in range(0, 8, 2)]
        case "s8":
            return [e.op("to_s8x4", *values[i : i + 4]) for i in range(0, 16, 4)]
    return [e.bits(v) for v in values]


def load_columns(e: Any, base: Any, column: Any, inside: Any, count: int) -> list[Any]:
    """``count`` float32 of a vector over the columns, from ``column`` on; zeros where not ``inside``."""
    start = e.add(base, e.wide(e.mul(column, 4)))
    return [v for i in range(0, count, 4) for v in e.op("load4f_if", e.add(start, 4 * i), inside)]


def as_floats(e: Any, kind: str, words: list[Any]) -> list[Any]:
    """Sums as float32: those of s8 come as integers (rounded once beyond 2^24)."""
    return [e.from_int(w) if KINDS[kind].whole else e.as_float(w) for w in words]


def complete(
    e: Any,
    kind: str,
    epilogue: Epilogue,
    values: list[Any],
    bias: list[Any],
    scale: list[Any],
    residual: Any,
    floats: Any,
) -> list[Any]:
    """16 bytes of results, as 32-bit words, from as many float32 sums.

    ``y = act(sum [* scale] + bias + residual [* residual_scale])``, or the residual after the
    activation; s8 results are ``round(y * out_scale)``, saturated.
    """
    a, b, residual_scale, out_scale = floats
    if KINDS[kind].whole:
        values = [e.fma(v, s, t) for v, s, t in zip(values, scale, bias, strict=True)]
    else:
        values = [e.fadd(v, t) for v, t in zip(values, bias, strict=True)]
    addends = unpack(e, kind, residual) if epilogue.residual != "none" else []
    if KINDS[kind].whole:
        addends = [e.fmul(r, residual_scale) for r in addends]
    if epilogue.residual == "before":
        values = [e.fadd(v, r) for v, r in zip(values, addends, strict=True)]
    values = [activate(e, epilogue.activation, v, a, b) for v in values]
    if epilogue.residual == "after":
        values = [e.fadd(v, r) for v, r in zip(values, addends, strict=True)]
    if KINDS[kind].whole:
        values = [e.fmul(v, out_scale) for v in values]
    return pack(e, kind, values)


def store_tile(
    e: Any,
    kind: str,
    epilogue: Epilogue | None,
    fragments: list[list[Any]],
    staging: Any,
    lane: Any,
    row0: Any,
    column0: Any,
    p: Operands,
) -> None:
    """Write a warp's tile: ``fragments[i]`` holds 16 rows, 4 values of each 8 columns (32 or 64 of them).

    ``staging`` is the address of 16 x columns x 4 bytes of shared memory that are this warp's own. With
    ``epilogue`` None the sums are stored as they are (partial sums, 4 bytes each).
    """
    width = len(fragments[0]) * 2
    vector = 4 if epilogue is None else 16 // KINDS[kind].size
    size = 4 if epilogue is None else KINDS[kind].size
    lanes = width // vector  # lanes that share a row
    pitch = width * 4
    row, part = e.shr(lane, lanes.bit_length() - 1), e.and_(lane, lanes - 1)
    column = e.add(column0, e.mul(part, vector))
    inside = e.less(column, p.columns)
    bias: list[Any] = []
    scale: list[Any] = []
    if epilogue is not None:
        bias = load_columns(e, p.bias, column, e.flag(inside), vector)
        scale = load_columns(e, p.scale, column, e.flag(inside), vector) if KINDS[kind].whole else []
    offset = e.wide(e.mul(column, size))
    written = _write_address(e, staging, lane, pitch)
    for i, fragment in enumerate(fragments):
        rows = [e.add(row, r) for r in range(0, 16, 32 // lanes)]
        pixels = [e.add(row0, e.add(r, 16 * i)) for r in rows]
        wanted = [e.flag(e.both(inside, e.less(m, p.rows))) for m in pixels]
        residuals: list[Any] = [None] * len(rows)
        if epilogue is not None and epilogue.residual != "none":
            for k, (m, ok) in enumerate(zip(pixels, wanted, strict=True)):
                at = e.add(p.residual, e.add(e.op("multiply_wide", m, p.residual_pitch), offset))
                residuals[k] = e.op("load4_if", at, ok)
        for j in range(width // 8):
            words = [v if KINDS[kind].whole else e.bits(v) for v in fragment[4 * j : 4 * j + 4]]
            at = e.add(written[0], e.xor(written[1], 32 * j))
            e.op("store_shared2", at, *words[:2])
            e.op("store_shared2", e.add(at, 8 * pitch), *words[2:])
        e.op("syncwarp")
        for r, m, ok, residual in zip(rows, pixels, wanted, residuals, strict=True):
            words = []
            for chunk in range(0, vector, 4):
                where = e.add(e.mul(part, vector // 4), chunk // 4)
                where = e.mul(e.xor(where, e.mul(e.and_(r, 3), 2)), 16)
                words += e.op("load_shared4", e.add(e.add(staging, e.mul(r, pitch)), where))
            if epilogue is not None:
                values = as_floats(e, kind, words)
                words = complete(e, kind, epilogue, values, bias, scale, residual, p.floats)
            at = e.add(p.out, e.add(e.op("multiply_wide", m, p.out_pitch), offset))
            e.op("store4_if", at, *words, ok)
        e.op("syncwarp")


def _write_address(e: Any, staging: Any, lane: Any, pitch: int) -> tuple[Any, Any]:
    """Where a lane's first pair goes, as a base and an offset to be xored with 32 for each 8 columns.

    16-byte chunk ``c`` of a row lies at ``c ^ 2 (row % 4)``: four rows of a half-warp then fall into
    different banks.
    """
    row, pair = e.shr(lane, 2), e.and_(lane, 3)
    base = e.add(e.add(staging, e.mul(row, pitch)), e.mul(e.and_(pair, 1), 8))
    return base, e.mul(e.or_(e.shr(pair, 1), e.mul(e.and_(row, 3), 2)), 16)
