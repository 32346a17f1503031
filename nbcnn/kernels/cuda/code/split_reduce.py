"""Second half of a split convolution: adds the partial sums and finishes the result.

Numerics: partial sums are added in float32 (s8: exactly) in the order of the splits, always the same,
so a result does not change from run to run; then the epilogue of `nbcnn.kernels.cuda.code.epilogue`.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.epilogue import as_floats, complete, load_columns
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import KINDS, SplitReduce


def make(bind: Any, config: SplitReduce) -> Any:
    """The kernel: one thread for 16 bytes of results; grid (M x vectors / threads rounded up, 1, 1)."""
    ptx = bind(OPS)
    u32, u64 = ptx.u32, ptx.u64
    kind, threads = config.kind, config.threads
    whole = KINDS[kind].whole
    vector = 16 // KINDS[kind].size
    size = KINDS[kind].size
    residual_wanted = config.epilogue.residual != "none"

    @ptx.macro(f"u32*{vector}")
    def zeros(e):
        return [e.u32(0)] * vector

    @ptx.macro(f"u32*{vector}", f"u32*{vector} u64 u32")
    def accumulate(e, words, at, wanted):
        more = [v for i in range(0, vector, 4) for v in e.op("load4_written_if", e.add(at, 4 * i), wanted)]
        if whole:
            return [e.add(v, w) for v, w in zip(words, more, strict=True)]
        return [e.bits(e.fadd(e.as_float(v), e.as_float(w))) for v, w in zip(words, more, strict=True)]

    @ptx.macro("", f"u32*{vector} u32 u32 u32 u64*4 u32*2 f32*4")
    def finish(e, words, wanted, row, column, pointers, pitches, floats):
        bias, scale, residual, out = pointers
        offset = e.wide(e.mul(column, size))
        addends: Any = None
        if residual_wanted:
            at = e.add(residual, e.add(e.op("multiply_wide", row, pitches[0]), offset))
            addends = e.op("load4_if", at, wanted)
        scales = load_columns(e, scale, column, wanted, vector) if whole else []
        biases = load_columns(e, bias, column, wanted, vector)
        values = as_floats(e, kind, words)
        words = complete(e, kind, config.epilogue, values, biases, scales, addends, floats)
        e.op("store4_if", e.add(out, e.add(e.op("multiply_wide", row, pitches[1]), offset)), *words, wanted)

    def reduce(
        partial, bias, scale, residual, out,
        M, K, splits, partial_pitch, residual_pitch, out_pitch, vectors, multiplier, shift,
        a, b, residual_scale, out_scale,
    ):  # fmt: skip
        index = u32(ptx.ctaid_x() * threads + ptx.tid_x())
        row = ptx.divide(index, multiplier, shift)
        column = u32((index - row * vectors) * vector)
        wanted = ptx.less(row, M)
        at = u64(partial + ptx.multiply_wide(row, partial_pitch) + ptx.multiply_wide(column, u32(4)))
        words = zeros()
        z = u32(0)
        while z < splits:
            words = accumulate(words, at, wanted)
            at = u64(at + u64(M) * u64(partial_pitch))
            z = u32(z + 1)
        finish(
            words, wanted, row, column, (bias, scale, residual, out), (residual_pitch, out_pitch),
            (a, b, residual_scale, out_scale),
        )  # fmt: skip

    return reduce
