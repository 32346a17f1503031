"""The product of a point: MR tiles times a panel of transformed filters, which come from afar.

Transformed filters are several times the filters and seldom fit a cache, so they are prefetched one point
ahead: each of the blocks that read a panel asks for its share of the next one, so that lines arrive as
steadily as they are used. ResNet-50's layers of 256 channels at 14x14 take 380 us instead of 450 that way.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import F32, Builder, Scalar, V, i64

_CHAINS = 8  # FMA latency (4 cycles) x FMAs a cycle (2): fewer accumulators than this would wait


def multiplication(mr: int, nv: int, lanes: int, unroll: int) -> Any:
    """An intrinsic (tiles, width, u, depth, to, step, ahead, hop): ``mr`` tiles times ``nv`` vectors of U.

    All in bytes: tiles are ``width`` apart, of which ``depth`` are read; their results go ``step`` apart to
    ``to``. For each line of U that is read one is prefetched: the first at ``ahead``, the others each
    ``hop`` after the one before.
    """
    line = 4 * lanes

    def steps(bd: Builder, count: int, split: int, rows: list[Scalar], hop: Scalar) -> Any:
        """``count`` channels; their sums are spread over ``split`` sets of accumulators."""

        def body(k: Scalar, carried: list[Scalar]) -> list[Scalar]:
            at, ahead, *acc = carried
            for s in range(count):
                right = []
                for offset in range(s * nv * line, (s + 1) * nv * line, line):
                    right.append(emit.load(bd, bd.add(at, i64(offset)), lanes, align=line))
                    if offset % 64 == 0:
                        emit.prefetch(bd, ahead, locality=2)
                        ahead = bd.add(ahead, hop)
                for i, row in enumerate(rows):
                    value = emit.load_scalar(bd, bd.add(bd.add(row, k), i64(4 * s)), F32)
                    left = emit.splat(bd, value, lanes)
                    for j in range(nv):
                        c = (s % split * mr + i) * nv + j
                        acc[c] = emit.fma(left, right[j], V(bd, acc[c])).v
            return [bd.add(at, i64(count * nv * line)), ahead, *acc]

        return body

    @intrinsic
    def multiply(tc, tiles, width, u, depth, to, step, ahead, hop):
        def emit_multiply(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
            tiles, width, u, depth, to, step, ahead, hop = args
            split = min(unroll, -(-_CHAINS // (mr * nv)))
            # Opaque: the optimiser would add up width * i anew for every load.
            rows = [emit.opaque(bd, bd.add(tiles, bd.mul(width, i64(i)))) for i in range(mr)]
            carried = [u, ahead] + [emit.zero(bd, lanes).v] * (mr * nv * split)
            whole = bd.sub(depth, bd.srem(depth, i64(4 * unroll)))
            carried = emit.loop(bd, i64(0), whole, 4 * unroll, carried, steps(bd, unroll, split, rows, hop))
            if unroll > 1:
                carried = emit.loop(bd, whole, depth, 4, carried, steps(bd, 1, split, rows, hop))
            sums = [V(bd, x) for x in carried[2:]]
            for c in range(mr * nv):
                total = sums[c]
                for x in sums[c + mr * nv :: mr * nv]:
                    total = total + x
                place = bd.add(to, bd.mul(step, i64(c // nv)))
                emit.store(bd.add(place, i64(line * (c % nv))), total)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), emit_multiply

    return multiply
