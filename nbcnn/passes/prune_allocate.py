"""How many elements of each layer to prune: uniform, Erdos-Renyi-Kernel, global, and a schedule over time.

    uniform   every layer alike
    erk       layer l keeps the share  e * (sum of its weight's extents) / (product of them),  at most all,
              with e such that the shares add up: small layers keep more
    global    all layers ranked together

Evci et al., "Rigging the Lottery: Making All Tickets Winners" (2020), section 3, has the second. Counts are
exact: of n units a layer loses round(share * n), but never the last one, and with erk the counts add up to
round(share * total).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DISTRIBUTIONS = ("uniform", "erk", "global")


def uniform(units: Sequence[int], sparsity: float) -> list[int]:
    """How many of its ``units`` each layer loses when all lose the same share."""
    return [min(round(sparsity * n), n - 1) for n in units]


def erk(units: Sequence[int], shapes: Sequence[Sequence[int]], sparsity: float) -> list[int]:
    """How many of its ``units`` each layer with a weight of these ``shapes`` loses under ERK."""
    sizes = [math.prod(shape) for shape in shapes]
    ratios = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    kept: dict[int, float] = {}
    while len(kept) < len(sizes):
        rest = [i for i in range(len(sizes)) if i not in kept]
        budget = (1 - sparsity) * sum(sizes) - sum(sizes[i] for i in kept)
        scale = budget / sum(ratios[i] * sizes[i] for i in rest)
        top = max(ratios[i] for i in rest)
        if scale * top <= 1:
            kept.update((i, scale * ratios[i]) for i in rest)
        else:  # these stay whole; the others share what is left of the budget
            kept.update((i, 1.0) for i in rest if ratios[i] == top)
    return _rounded([(1 - kept[i]) * n for i, n in enumerate(units)], [n - 1 for n in units])


def _rounded(wanted: list[float], most: list[int]) -> list[int]:
    """``wanted`` as whole numbers of the same sum: the largest remainders are rounded up, ties by index."""
    counts = [min(int(w), m) for w, m in zip(wanted, most, strict=True)]
    missing = round(sum(wanted)) - sum(counts)
    order = sorted(range(len(wanted)), key=lambda i: counts[i] - wanted[i])
    for i in order[: max(missing, 0)]:
        counts[i] = min(counts[i] + 1, most[i])
    return counts


def lowest(scores: np.ndarray, count: int) -> np.ndarray:
    """Which are the ``count`` lowest of ``scores`` [n]; of equal ones those of the lowest index."""
    if count == 0:
        return np.zeros(len(scores), bool)
    limit = np.partition(scores, count - 1)[count - 1]
    taken = scores < limit
    ties = np.flatnonzero(scores == limit)
    taken[ties[: count - np.count_nonzero(taken)]] = True
    return taken


def together(scores: Sequence[np.ndarray], sizes: Sequence[int], sparsity: float) -> list[np.ndarray]:
    """Which units of each layer go when all are ranked together; a unit of layer i has ``sizes[i]`` elements.

    The best unit of each layer stays. Where units differ in size, the count is the one that comes closest to
    the share of elements.
    """
    ranked = []
    for own in scores:
        ranked.append(own.copy())
        ranked[-1][own.argmax()] = np.inf
    pool = np.concatenate(ranked)
    if len(set(sizes)) == 1:
        taken = lowest(pool, round(sparsity * len(pool)))
    else:
        size = np.repeat(sizes, [len(own) for own in scores])
        order = np.argsort(pool, kind="stable")
        total = np.concatenate([[0], np.cumsum(size[order])])
        taken = np.zeros(len(pool), bool)
        taken[order[: abs(total - sparsity * total[-1]).argmin()]] = True
    taken &= pool != np.inf
    return np.split(taken, np.cumsum([len(own) for own in scores])[:-1])


def gradual(step: float, begin: float, end: float, sparsity: float, initial: float = 0.0) -> float:
    """The share of zeros at ``step`` of training: from ``initial`` at ``begin`` to ``sparsity`` at ``end``.

    s + (i - s) * (1 - (t - begin) / (end - begin))^3: fast at first, when there is much to spare. Zhu and
    Gupta, "To prune, or not to prune" (2017). Before ``begin`` it is ``initial``, after ``end`` ``sparsity``.
    """
    if end <= begin:
        return sparsity if step >= end else initial
    left = 1 - min(max((step - begin) / (end - begin), 0.0), 1.0)
    return sparsity + (initial - sparsity) * left**3
