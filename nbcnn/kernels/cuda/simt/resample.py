"""Pixels made of other pixels by separable tables: resizing, padding. A thread makes four channels of one.

Point (z, y, x) of a result is the sum of PLANES by ROWS by COLUMNS pixels, as many as each table has for
a point, or of any number where these are 0. A table holds elements of the operand's axis and their
weights; a point whose first element is negative on any axis is ``fill``. Where one pixel makes a point
(``1, 1, 1``) it is copied, and weights are not read.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import cuda, float32, int32, uint32

from nbcnn.kernels.cuda.simt.integers import quotient
from nbcnn.kernels.cuda.simt.memory import reader4, writer4


def make(KIND: str, PLANES: int, ROWS: int, COLUMNS: int) -> Callable[..., None]:
    """``groups`` of four channels a pixel, ``depth`` by ``height`` by ``width`` points an image.

    Strides are those of images, planes, rows and pixels in the operand, of images and pixels in the result;
    ``f`` and ``h`` with a letter are the reciprocals of ``groups``, ``width``, ``height`` and ``depth``.
    """
    read4, write4 = reader4(KIND), writer4(KIND)
    COPIED = PLANES == ROWS == COLUMNS == 1

    def resample(
        source, target, planes, plane_weights, rows, row_weights, columns, column_weights,
        total, channels, groups, fg, hg, width, fw, hw, height, fh, hh, depth, fd, hd,
        many_planes, many_rows, many_columns,
        in_image, in_plane, in_row, in_pixel, out_image, out_pixel, fill,
    ):  # fmt: skip
        counts = (
            PLANES if PLANES > 0 else many_planes,
            ROWS if ROWS > 0 else many_rows,
            COLUMNS if COLUMNS > 0 else many_columns,
        )
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < total:
            pixel = quotient(i, fg, hg)
            c = int32((i - pixel * groups) * 4)
            line = quotient(pixel, fw, hw)
            layer = quotient(line, fh, hh)
            image = quotient(layer, fd, hd)
            x = uint32((pixel - line * width) * counts[2])
            y = uint32((line - layer * height) * counts[1])
            z = uint32((layer - image * depth) * counts[0])
            point = int32(pixel - image * depth * height * width)
            to = uint32(image * out_image + point * out_pixel + c)
            first = int32(image * in_image + c)
            if planes[z] < 0 or rows[y] < 0 or columns[x] < 0:
                a, b, d, e = fill, fill, fill, fill
            elif COPIED:
                at = first + planes[z] * in_plane + rows[y] * in_row + columns[x] * in_pixel
                a, b, d, e = read4(source, uint32(at))
            else:
                a, b, d, e = float32(0), float32(0), float32(0), float32(0)
                for plane in range(counts[0]):
                    for row in range(counts[1]):
                        at = int32(first + planes[z + plane] * in_plane + rows[y + row] * in_row)
                        p, q, r, s = float32(0), float32(0), float32(0), float32(0)
                        for column in range(counts[2]):
                            w = column_weights[x + column]
                            p1, q1, r1, s1 = read4(source, uint32(at + columns[x + column] * in_pixel))
                            p, q, r, s = p + w * p1, q + w * q1, r + w * r1, s + w * s1
                        w = plane_weights[z + plane] * row_weights[y + row]
                        a, b, d, e = a + w * p, b + w * q, d + w * r, e + w * s
            b = b if c + 1 < channels else float32(0)
            d = d if c + 2 < channels else float32(0)
            e = e if c + 3 < channels else float32(0)
            write4(target, to, a if c < channels else float32(0), b, d, e)
            i = int32(i + step)

    return resample
