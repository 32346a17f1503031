"""How far what tensor cores compute may lie from float64, by precision: derived from `Op.error`.

Operands are rounded to fewer bits before they are multiplied, products are exact, sums are float32 with
truncation instead of rounding (twice the unit roundoff), results are rounded to what images are stored in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import reference
from nbcnn.ir import Op

STORED = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Unit roundoff of what images are stored in; float32 elsewhere."""

OPERANDS = {
    "float16": (0.0, 2.0**-11),
    "bfloat16": (0.0, 2.0**-8),
    "tf32": (2.0**-10, 2.0**-11),  # wgmma truncates the pixels
    "3xtf32": (14 * 2.0**-23, 0.0),  # products left out, and a step summed with truncation: ``conv_mma``
}
"""Relative errors of pixels and filters as they are multiplied; images lie as they are stored."""

DEPTHWISE = {"float16": (0.0, 2.0**-11), "bfloat16": (0.0, 2.0**-8)}
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
    errors[0] = of_pixels * np.abs(arrays[0])
    for i in range(len(data), len(arrays)):
        if arrays[i].ndim > 1 and of_filters:
            errors[i] = of_filters * np.abs(arrays[i]) + (2.0**-25 if how == "float16" else 0)
    limits = op.error(arrays, errors, 2.0**-23)
    wanted = op.reference(*arrays)
    stored, worst = STORED.get(how, 0.0), 0.0
    for got, want, limit in zip(results, wanted, limits, strict=True):
        limit = limit + stored * (np.abs(want) + limit) + 2.0**-25 * (how == "float16") + 1e-37
        assert got.shape == want.shape
        worst = max(worst, float(np.nan_to_num(np.abs(got - want) / limit, nan=np.inf).max(initial=0)))
    return worst


def excesses(model: Any, inputs: dict[str, np.ndarray], how: str) -> dict[str, float]:
    """For every node that was lowered: its worst error in units of its bound, from the operands it read."""
    values, found = model.tap(**inputs), {}
    for choice in model.choices:
        site = choice.site
        data = [values[v] if v in values else model.graph.weight(v).array for v in site.data]
        weights, results = [w.array for _, w in site.weights], [values[v] for v in site.outputs]
        if choice.kernel.name.startswith("tensor_"):
            found[site.name] = excess(site.op, data, weights, results, how, choice.kernel.name)
        else:
            rounding = choice.kernel.rounding
            found[site.name] = reference.excess(
                site.op, [*data, *weights], results, *rounding, STORED.get(how, 0.0)
            )
    return found
