"""How a block of `conv_mma` fetches its operands: which 16 bytes each thread copies, and from where.

A thread copies the same 16-byte chunk of every ``pass_rows``-th row, of pixels and of filters alike.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nbcnn.kernels.cuda.shapes import KINDS, ConvMma

_OUTSIDE = 0x40000000
"""Added to a row number beyond the last pixel: outside every image."""
NEVER = 0xFFFFFFFF
"""A tap that no mask has: at most 15 filter rows and columns, hence never all 32 bits."""


def loaders(ptx: Any, config: ConvMma) -> SimpleNamespace:
    """The macros: where pixels and filters begin, masks of valid taps, and the copies of a step."""
    row_bytes, chunks = config.row_bytes, config.row_bytes // 16
    pass_rows = config.threads // chunks
    pixels, rows = config.bm // pass_rows, config.bn // pass_rows
    size = KINDS[config.kind].size
    per_chunk = 16 // (4 * size)  # pixels of 4 channels
    copy = f"async{min(16, 4 * size)}" if config.pixels4 else "async16"

    @ptx.macro(f"u32*{3 * pixels}", "u32 u32 u32*5 u32*4 u32*4 u32")
    def origins(e, row, start, image, window, divisors, pitch):
        """Byte offset of each pixel's window, then all first rows, then all first columns (some below 0)."""
        height, width, p_extent, q_extent, count = image
        stride_h, stride_w, pad_h, pad_w = window
        offsets, tops, lefts = [], [], []
        for i in range(pixels):
            m = e.add(row, i * pass_rows)
            n = e.op("divide", m, divisors[0], divisors[1])
            pq = e.sub(m, e.mul(n, e.mul(p_extent, q_extent)))
            p = e.op("divide", pq, divisors[2], divisors[3])
            q = e.sub(pq, e.mul(p, q_extent))
            top = e.sub(e.mul(p, stride_h), pad_h)
            left = e.sub(e.mul(q, stride_w), pad_w)
            offset = e.add(e.mul(e.add(e.mul(e.add(e.mul(n, height), top), width), left), pitch), start)
            offsets.append(e.op("opaque", offset))
            tops.append(e.select(e.less(m, count), top, _OUTSIDE))
            lefts.append(left)
        return offsets + tops + lefts

    @ptx.macro(f"u32*{pixels}")
    def unmarked(e):
        return [e.u32(0)] * pixels

    def marker(first):
        @ptx.macro(f"u32*{pixels}", f"u32*{pixels} u32*{3 * pixels} u32 u32 u32")
        def mark(e, masks, origin, shift, extent, bit):
            """Set ``bit`` for the pixels whose window, moved by ``shift``, begins inside ``extent``."""
            at = origin[first : first + pixels]
            inside = [e.less(e.add(v, shift), extent) for v in at]
            return [e.or_(m, e.select(ok, bit, 0)) for m, ok in zip(masks, inside, strict=True)]

        return mark

    @ptx.macro(f"u32*{rows + 1}", "u32 u32 u32 u32")
    def filters(e, row, start, pitch, count):
        """Byte offset of each filter that the thread copies, then a bit for each that exists."""
        offsets, mask = [], e.u32(0)
        for i in range(rows):
            k = e.add(row, i * pass_rows)
            offsets.append(e.op("opaque", e.add(e.mul(k, pitch), start)))
            mask = e.or_(mask, e.select(e.less(k, count), e.u32(1 << i), 0))
        return [*offsets, e.op("opaque", mask)]

    @ptx.macro("", f"u32 u64 u32*{rows + 1} u32 u32")
    def load_filters(e, to, w, state, shift, wanted):
        """Copy ``shift`` bytes on from each filter's start; nothing but zeros where ``wanted`` is 0."""
        mask = e.and_(state[rows], wanted)
        for i in range(rows):
            at = e.add(w, e.wide(e.add(state[i], shift)))
            e.op("async16", e.add(to, i * pass_rows * row_bytes), at, mask, 1 << i)

    @ptx.macro("", f"u32 u64 u32*{3 * pixels} u32*{pixels} u32 u32")
    def load_input(e, to, x, origin, masks, shift, tap):
        """Copy 16 bytes of channels of each pixel's window, at tap bits ``tap``."""
        for i in range(pixels):
            at = e.add(x, e.signed(e.add(origin[i], shift)))
            e.op("async16", e.add(to, i * pass_rows * row_bytes), at, masks[i], tap)

    @ptx.macro("", f"u32 u64 u32*{3 * pixels} u32*{pixels} u32 u32*4 u32*2 u32*2")
    def load_pixels(e, to, x, origin, masks, tap, window, image, s_divisor):
        """Copy 16 bytes of whole pixels of 4 channels: taps ``tap, tap + 1...`` in row-major order."""
        filter_rows, filter_columns, dilation_h, dilation_w = window
        width, pitch = image
        for j in range(per_chunk):
            r = e.op("divide", e.add(tap, j), s_divisor[0], s_divisor[1])
            s = e.sub(e.add(tap, j), e.mul(r, filter_columns))
            bits = e.or_(e.shl(e.u32(1), r), e.shl(e.u32(0x10000), s))
            bits = e.select(e.less(r, filter_rows), bits, NEVER)
            shift = e.mul(e.add(e.mul(e.mul(r, dilation_h), width), e.mul(s, dilation_w)), pitch)
            for i in range(pixels):
                at = e.add(x, e.signed(e.add(origin[i], shift)))
                e.op(copy, e.add(to, i * pass_rows * row_bytes + j * 4 * size), at, masks[i], bits)

    return SimpleNamespace(
        origins=origins,
        unmarked=unmarked,
        mark_row=marker(pixels),
        mark_column=marker(2 * pixels),
        filters=filters,
        load_filters=load_filters,
        load_input=load_input,
        load_pixels=load_pixels,
    )
