"""Winograd's convolutions in two dimensions, NHWC: tiles of outputs from an algorithm for each axis.

The algorithms are those of ``nbcnn.kernels.cpu.toom_cook``. With A, G and B of the columns on the left
and those of the rows on the right, a tile of outputs is ``A^T (U . V) A`` with ``U = G g G^T`` of the
filters g, made when weights are packed, and ``V = B^T d B`` of the inputs d. The elementwise product over
all channels and tiles is a matrix product for each point: for F(4 x 4, 3 x 3), 36 multiplications take
the place of 144 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308).

Tiles are taken in chunks whose V stays in the L2 cache of the core that made it.  For a chunk and a
panel of NR = NV * LANES output channels, the products of all points go to M, which is transformed
into outputs while it is still in cache.  The share of a part is a contiguous range of (chunk, panel)
pairs; V and M are its own, so parts never wait for each other.  Where a chunk is shared, each part
makes its V: less work than a barrier costs.

Argument block (addresses in bytes; strides, pitches and sizes in float elements):

==  ==================================================================================
 0  in: first image         1  out: first image
 2  res: what RES adds, first image (ignored if RES is 0)
 3  U, float32 [panels][POINTS][C][NR], 64-byte aligned
 4  bias, float32 [panels * NR]
 5  scratch, 64-byte aligned: an area for each part
 6  areas: how many there are; parts beyond do nothing
 7  images    8  H    9  W    10  OH    11  OW    12  top    13  left
14  C         15  width: C rounded up to LANES
16  n_store: output channels stored, a multiple of LANES
17  capacity: tiles in a chunk, a multiple of MR
18  in pitch         19  out pitch           20  res pitch
21  in image stride  22  out image stride    23  res image stride
24  act a            25  act b, float32 bits
26  point: floats of V at one point, at least capacity * width
27  product: floats of a tile of M, at least POINTS * NR
28  area: floats of an area
==  ==================================================================================

An area holds V [POINTS][point], then M [capacity][product] or, while V is made, the inputs of one border
tile [POINTS][width].
"""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.simd import arg, argf, prefetch, vload, vstore, vzero
from nbcnn.kernels.cpu.code.winograd_product import multiplication
from nbcnn.kernels.cpu.code.winograd_transform import input_transform, output_transform
from nbcnn.kernels.cpu.toom_cook import algorithm


def make(
    TILE_Y: int, TAPS_Y: int, STRIDE_Y: int, TILE_X: int, TAPS_X: int, STRIDE_X: int,
    MR: int, NV: int, LANES: int, ACT: int, RES: int, UNROLL: int,
) -> Callable[[int, int, int], None]:  # fmt: skip
    """Kernel for blocks of MR tiles x NV vectors of LANES channels.

    TILE_Y, TAPS_Y and STRIDE_Y name the algorithm of the columns, TILE_X, TAPS_X and STRIDE_X of the rows.

    ACT is a code of ``activation_ids``; RES 0: no residual, 1: added before the activation,
    2: after it; UNROLL: channels per iteration of the product.
    """
    down, across = algorithm(TILE_Y, TAPS_Y, STRIDE_Y), algorithm(TILE_X, TAPS_X, STRIDE_X)
    SIZE_Y, SIZE_X = down.size, across.size
    POINTS = SIZE_Y * SIZE_X
    NR = NV * LANES
    transform_input = input_transform(down, across, LANES)
    multiply = multiplication(MR, NV, LANES, UNROLL)
    transform_output = output_transform(down, across, 4 * NR, LANES)

    def winograd(args, part, parts):
        source, out, res, u, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        images, H, W, OH, OW = arg(args, 7), arg(args, 8), arg(args, 9), arg(args, 10), arg(args, 11)
        top, left, C, width = arg(args, 12), arg(args, 13), arg(args, 14), arg(args, 15)
        n_store, capacity = arg(args, 16), arg(args, 17)
        pixel, out_pixel, res_pixel = 4 * arg(args, 18), 4 * arg(args, 19), 4 * arg(args, 20)
        in_image, out_image, res_image = 4 * arg(args, 21), 4 * arg(args, 22), 4 * arg(args, 23)
        act_a, act_b = argf(args, 24), argf(args, 25)
        point_step, m_tile = 4 * arg(args, 26), 4 * arg(args, 27)
        v = arg(args, 5) + 4 * part * arg(args, 28)
        m = v + POINTS * point_step

        lines, columns = (OH + TILE_Y - 1) // TILE_Y, (OW + TILE_X - 1) // TILE_X
        tiles = images * lines * columns
        panels = (n_store + NR - 1) // NR

        parts = min(parts, arg(args, 6))
        # The last chunk may be short: shares are even in tiles, rounded down to whole pairs.
        at = stop = 0
        for end in range(2):
            edge = tiles * panels * (part + end) // parts
            chunk = edge // (capacity * panels)
            count = max(min(capacity, tiles - chunk * capacity), 1)
            at, stop = stop, chunk * panels + (edge - chunk * capacity * panels) // count
        if part >= parts:
            stop = at
        made = -1
        while at < stop:
            chunk = at // panels
            panel = at - chunk * panels
            first = chunk * capacity
            count = min(capacity, tiles - first)
            if made != chunk:
                made = chunk
                for t in range(count):
                    line = (first + t) // columns
                    image = line // lines
                    y = (line - image * lines) * (TILE_Y * STRIDE_Y) - top
                    x = (first + t - line * columns) * (TILE_X * STRIDE_X) - left
                    base, row_step, col_step = source + image * in_image, W * pixel, pixel
                    if y >= 0 and x >= 0 and y + SIZE_Y <= H and x + SIZE_X <= W:
                        base += y * row_step + x * pixel
                    else:
                        for p in range(POINTS):
                            py, px = y + p // SIZE_X, x + p % SIZE_X
                            inside = 0 <= py < H and 0 <= px < W
                            for i in range(0, 4 * width, 4 * LANES):
                                pixels = vzero(LANES)
                                if inside:
                                    pixels = vload(base + py * row_step + px * pixel + i, LANES)
                                vstore(m + 4 * width * p + i, pixels)
                        base, row_step, col_step = m, 4 * SIZE_X * width, 4 * width
                    to = v + 4 * t * width
                    for i in range(width // LANES):
                        step = 4 * LANES * i
                        transform_input(base + step, row_step, col_step, to + step, point_step)
            blocks = (count + MR - 1) // MR
            share = (4 * NR * C + blocks - 1) // blocks
            hop = (64 + blocks - 1) // blocks
            for e in range(POINTS):
                right = u + 4 * NR * C * (panel * POINTS + e)
                for b in range(0, count, MR):
                    multiply(
                        v + e * point_step + 4 * b * width, 4 * width, right, 4 * C,
                        m + b * m_tile + 4 * NR * e, m_tile,
                        right + 4 * NR * C + b // MR * share, hop,
                    )  # fmt: skip
            for t in range(count):
                line = (first + t) // columns
                image = line // lines
                y, x = (line - image * lines) * TILE_Y, (first + t - line * columns) * TILE_X
                pixels = y * OW + x
                for j in range(min(NV, (n_store - panel * NR) // LANES)):
                    results, channel = m + m_tile * t + 4 * LANES * j, 4 * (panel * NR + LANES * j)
                    transform_output(results)
                    shift = vload(bias + channel, LANES)
                    for r in range(min(TILE_Y, OH - y)):
                        to = out + image * out_image + (pixels + r * OW) * out_pixel + channel
                        other = res + image * res_image + (pixels + r * OW) * res_pixel + channel
                        for c in range(min(TILE_X, OW - x)):
                            value = vload(results + 4 * NR * (r * TILE_X + c), LANES) + shift
                            if RES == 1:
                                value = value + vload(other, LANES)
                            value = activate(value, ACT, act_a, act_b)
                            if RES == 2:
                                value = value + vload(other, LANES)
                            vstore(to, value)
                            prefetch(to + TILE_X * out_pixel)
                            to += out_pixel
                            other += res_pixel
            at += 1

    return winograd
