"""How far what tensor cores compute may lie from float64, by precision: derived from `Op.error`.

Operands are rounded to fewer bits before they are multiplied, products are exact, sums are float32 with
truncation instead of rounding (twice the unit roundoff), results are rounded to what images are stored in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbcnn.ir import Op

STORED = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Unit roundoff of what images are stored in; float32 elsewhere."""

OPERANDS = {
    "float16": (2.0**-11, 2.0**-11),
    "bfloat16": (2.0**-8, 2.0**-8),
    "tf32": (2.0**-10, 2.0**-11),  # wgmma truncates the pixels
    "3xtf32": (14 * 2.0**-23, 0.0),  # products left out, and a step summed with truncation: ``conv_mma``
}
"""Relative errors of pixels and filters as they are multiplied; inputs are rounded as they become pixels."""

DEPTHWISE = {how: OPERANDS[how] for how in STORED}
"""Likewise of the depthwise kernel, which multiplies float32."""


def excess(
    op: Op,
    data: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    results: Sequence[np.ndarray],
    how: str,
    kernel: str,
) -> float:
    """The largest error in units of the bound; ``how`` is the precision, ``kernel`` the record's name."""
    table = DEPTHWISE if kernel == "tensor_depthwise" else OPERANDS
    of_pixels, of_filters = table.get(how, (0.0, 0.0))
    arrays = [a.astype(np.float64) for a in (*data, *weights)]
    errors = [np.zeros_like(a) for a in arrays]
    stored, least, worst = STORED.get(how, 0.0), 2.0**-25 if how == "float16" else 0.0, 0.0
    for i, array in enumerate(arrays):
        if i < len(data):
            errors[i] = (stored if i else of_pixels) * np.abs(array) + least
        elif array.ndim > 1:
            errors[i] = of_filters * np.abs(array) + least
    limits = op.error(arrays, errors, 2.0**-23)
    wanted = op.reference(*arrays)
    for got, want, limit in zip(results, wanted, limits, strict=True):
        limit = limit + stored * (np.abs(want) + limit) + least + 1e-37
        assert got.shape == want.shape
        worst = max(worst, float(np.nan_to_num(np.abs(got - want) / limit, nan=np.inf).max(initial=0)))
    return worst
