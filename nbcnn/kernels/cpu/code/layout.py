"""Layout conversions: NCHW to NHWC (with a border of zeros), NHWC to NCHW, and copies of rows.

Slots are addresses in bytes; strides and pitches are in float elements.

====  ====================  =====================  ============
slot  make_from_nchw        make_to_nchw           make_copy
====  ====================  =====================  ============
0     in                    in                     in
1     out                   out                    out
2     images                images                 rows
3     C                     C                      width
4     H                     H * W                  in pitch
5     W                     in pitch               out pitch
6     top                   in image stride
7     left                  out image stride
8     Hp, padded height     out plane pitch
9     Wp, padded width
10    out pitch
11    fill
12    out image stride
13    in plane pitch
====  ====================  =====================  ============

``make_from_nchw`` writes zeros to channels C..fill of every pixel, and to channels 0..fill of the
border; C <= fill <= out pitch.  A plane pitch is the distance of two planes, whose rows are
contiguous: H*W, or more where planes begin at whole vectors.  ``make_to_nchw`` writes C planes for
each image.  Nothing outside these ranges is written.

Both conversions transpose blocks of LANES pixels x LANES channels in registers, so that memory is
read and written in whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.blocks import copy, shuffle, transpose, transpose_edge, zero
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, i64
from nbcnn.kernels.cpu.code.simd import arg, literal

_CHUNK = 64
"""Pixels per unit of work where rows of the image do not matter."""

_COPY_LANES = 16
"""Vector of make_copy: widths are arbitrary there, so any lane count serves; LLVM splits it."""


@intrinsic(prefer_literal=True)
def _interleave_3(tc, source, plane, to, n, lanes):
    """Write pixels of 3 floats from 3 planes, ``plane`` bytes apart; n <= LANES of them."""
    count = literal(lanes, "LANES")

    def emit_interleave(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, plane, to, n, _ = args
        r, g, b = (emit.load_first(bd, bd.add(source, bd.mul(plane, i64(c))), n, count) for c in range(3))
        wide = list(range(2 * count))
        rg, b = shuffle(r, g, wide), shuffle(b, b, wide)
        floats = bd.mul(n, i64(3))
        for k in range(3):
            picks = [e % 3 * count + e // 3 for e in range(k * count, (k + 1) * count)]
            rest = bd.sub(floats, i64(k * count))
            emit.store_first(bd.add(to, i64(4 * k * count)), shuffle(rg, b, picks), rest)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, word, lanes), emit_interleave


def make_from_nchw(LANES: int) -> Callable[[int, int, int], None]:
    """NCHW to NHWC, with a spatial border of zeros."""

    def from_nchw(args, part, parts):
        source, out, images, C, H, W = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4), arg(args, 5)
        )  # fmt: skip
        top, left, Hp, Wp = arg(args, 6), arg(args, 7), arg(args, 8), arg(args, 9)
        pitch, fill, out_image, spread = arg(args, 10), arg(args, 11), arg(args, 12), arg(args, 13)
        plane = H * W
        border = Hp != H or Wp != W
        lines = Hp if border else (plane + _CHUNK - 1) // _CHUNK
        for i in range(images * lines * part // parts, images * lines * (part + 1) // parts):
            image = i // lines
            line = i - image * lines
            source_line, to = source + 4 * image * C * spread, out + 4 * image * out_image
            if border:
                row = line - top
                inside = 0 <= row < H
                before, pixels = (left, W) if inside else (Wp, 0)
                after = Wp - before - pixels
                source_line += 4 * row * W
                to += 4 * line * Wp * pitch
            else:
                first = line * _CHUNK
                before, pixels, after = 0, min(_CHUNK, plane - first), 0
                source_line += 4 * first
                to += 4 * first * pitch
            zero(to, before, fill, pitch, LANES)
            to += 4 * before * pitch
            if C == 3 and pitch == 3:
                for p in range(0, pixels, LANES):
                    _interleave_3(source_line + 4 * p, 4 * spread, to + 12 * p, min(LANES, pixels - p), LANES)
            elif pitch == 1:
                copy(source_line, to, pixels, LANES)
            else:
                for c in range(0, fill, LANES):
                    for p in range(0, pixels, LANES):
                        here, there = source_line + 4 * (c * spread + p), to + 4 * (p * pitch + c)
                        if c + LANES <= C and p + LANES <= pixels:
                            transpose(here, 4 * spread, there, 4 * pitch, LANES)
                        else:
                            rest = pixels - p
                            transpose_edge(
                                here, 4 * spread, C - c, rest, there, 4 * pitch, rest, fill - c, LANES
                            )
            zero(to + 4 * pixels * pitch, after, fill, pitch, LANES)

    return from_nchw


def make_to_nchw(LANES: int) -> Callable[[int, int, int], None]:
    """NHWC to NCHW."""

    def to_nchw(args, part, parts):
        source, out, images, C, pixels = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        pitch, in_image, out_image, spread = arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8)
        if pixels == 1 == spread:  # already in order: features before a fully connected layer, logits
            for image in range(images * part // parts, images * (part + 1) // parts):
                copy(source + 4 * image * in_image, out + 4 * image * out_image, C, LANES)
            return
        # Blocks of LANES x LANES, pixels innermost: few channels or few pixels share out alike.
        across, down = (pixels + LANES - 1) // LANES, (C + LANES - 1) // LANES
        blocks = images * down * across
        block, end = blocks * part // parts, blocks * (part + 1) // parts
        row = block // across
        p = (block - row * across) * LANES
        image = row // down
        c = (row - image * down) * LANES
        while block < end:
            at = source + 4 * (image * in_image + p * pitch + c)
            to = out + 4 * (image * out_image + c * spread + p)
            if c + LANES <= C and p + LANES <= pixels:
                transpose(at, 4 * pitch, to, 4 * spread, LANES)
            else:
                # Pad lanes may be loaded, as they are not stored: masked loads can be very slow.
                transpose_edge(at, 4 * pitch, pixels - p, pitch - c, to, 4 * spread, C - c, pixels - p, LANES)
            block += 1
            p += LANES
            if p >= pixels:
                p = 0
                c += LANES
                if c >= C:
                    c = 0
                    image += 1

    return to_nchw


def make_copy() -> Callable[[int, int, int], None]:
    """Rows of any width and alignment, as in a concatenation of odd channel counts."""

    def copy_rows(args, part, parts):
        source, out, rows, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        in_pitch, out_pitch = arg(args, 4), arg(args, 5)
        first, last = rows * part // parts, rows * (part + 1) // parts
        if in_pitch == out_pitch == width:
            copy(source + 4 * first * width, out + 4 * first * width, (last - first) * width, _COPY_LANES)
            return
        for row in range(first, last):
            copy(source + 4 * row * in_pitch, out + 4 * row * out_pitch, width, _COPY_LANES)

    return copy_rows
