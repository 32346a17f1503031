"""Which share of zeros each layer gets, so that the result errs least within a budget.

Errors of layers pruned one at a time are taken to add up in squares, and the choice is a knapsack of several
choices for each item: minimise sum e[l, s_l]^2 with sum u[l, s_l] <= budget. It is solved layer by layer,
keeping of all sums those that no other beats in both error and use. What a choice uses of the budget is the
weights that stay (for a target sparsity), its multiply-accumulates (for a share of them) or its time as
`nbcnn.debug.layer_times` measured it (for a target latency).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nbcnn.debug.layer_times import LayerTimes
from nbcnn.debug.sensitivity import Sensitivity
from nbcnn.errors import OptionError
from nbcnn.passes.prune_layers import Layer

MOST = 20_000
"""How many sums are kept after a layer; of more, as many, evenly spread."""

Time = Callable[[Layer, float], float]
"""How long a layer takes with this share of zeros, in any unit."""


def by_macs(found: Sensitivity) -> Time:
    """The time model that knows no machine: the multiply-accumulates that are left."""
    macs = {entry.layer.weight: entry.macs for entry in found.entries}
    return lambda layer, share: macs[layer.weight] * (1 - share)


def by_size(layer: Layer, share: float) -> float:
    """The elements that are left."""
    return layer.size * (1 - share)


def for_sparsity(found: Sensitivity, target: float) -> dict[str, float]:
    """Shares by layer name, for at least ``target`` zeros among the weights of the layers measured.

    Raises OptionError where the shares measured do not reach it.
    """
    if not 0 < target < 1:
        raise OptionError(f"sparsity must be above 0 and below 1, got {target}")
    total = sum(entry.layer.size for entry in found.entries)

    def use(layer: Layer, share: float) -> float:
        return layer.size - round(share * layer.size)

    return _allocate(found, use, (1 - target) * total, f"{target:.1%} zeros")


def for_time(found: Sensitivity, target: float, time: Time | None = None) -> dict[str, float]:
    """Shares by layer name, for at most ``target`` of the time that the layers measured take when dense.

    ``time`` is the model of it, by default `by_macs`. Raises OptionError where it cannot be reached.
    """
    if not 0 < target < 1:
        raise OptionError(f"time must be above 0 and below 1, a share of the dense time, got {target}")
    time = time or by_macs(found)
    total = sum(time(entry.layer, 0.0) for entry in found.entries)
    return _allocate(found, time, target * total, f"{target:.1%} of the time")


def for_seconds(found: Sensitivity, target: float, times: LayerTimes) -> dict[str, float]:
    """Shares by layer name, for a call of the whole model that takes at most ``target`` seconds.

    Raises OptionError where the times measured do not allow it.
    """
    if not 0 < target < math.inf:
        raise OptionError(f"milliseconds must be above 0, got {1e3 * target:g}")
    what, most = f"{1e3 * target:.4g} ms", max(found.shares)
    if target >= times.dense:
        raise OptionError(f"nothing is to be pruned: dense, the model takes {1e3 * times.dense:.4g} ms")
    if target < times.least:
        least = (
            f"{1e3 * times.least:.4g} ms is the least, {1e3 * times.rest:.4g} ms of it not in these layers"
        )
        raise OptionError(f"{what} cannot be reached with shares up to {most:g}: {least}")
    return _allocate(found, times, target - times.rest, what)


def even(found: Sensitivity, chosen: Mapping[str, float], use: Time) -> float:
    """The one share for all layers that uses what ``chosen`` does; ``use`` is linear between the shares."""
    shares = (0.0, *found.shares)
    wanted = sum(use(entry.layer, chosen.get(entry.layer.name, 0.0)) for entry in found.entries)
    totals = [sum(use(entry.layer, share) for entry in found.entries) for share in shares]
    return float(np.interp(-wanted, -np.minimum.accumulate(totals), shares))


def _allocate(found: Sensitivity, use: Time, budget: float, what: str) -> dict[str, float]:
    shares = (0.0, *found.shares)
    costs = [np.square([0.0, *entry.errors]) for entry in found.entries]
    uses = [np.array([use(entry.layer, share) for share in shares]) for entry in found.entries]
    chosen = cheapest(costs, uses, budget)
    if chosen is None:
        raise OptionError(f"{what} cannot be reached with shares up to {max(shares):g}: measure higher ones")
    names = [entry.layer.name for entry in found.entries]
    return {name: shares[i] for name, i in zip(names, chosen, strict=True) if i}


def cheapest(
    costs: Sequence[np.ndarray], uses: Sequence[np.ndarray], budget: float, most: int = MOST
) -> list[int] | None:
    """One choice of each item, of the least total cost among those whose uses add up to at most ``budget``.

    ``costs`` and ``uses`` hold an array for each item. None where nothing fits. The answer is the best as
    long as no more than ``most`` sums are in the running after an item, else close to it.
    """
    slack = budget + 1e-9 * abs(budget)
    least = np.array([use.min() for use in uses])
    if least.sum() > slack:
        return None
    use, cost = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for i, (own_use, own_cost) in enumerate(zip(uses, costs, strict=True)):
        use, cost = np.add.outer(use, own_use).reshape(-1), np.add.outer(cost, own_cost).reshape(-1)
        order = np.lexsort((cost, use))
        before = np.minimum.accumulate(np.append(np.inf, cost[order][:-1]))
        running = (cost[order] < before) & (use[order] + least[i + 1 :].sum() <= slack)
        running[0] = True  # the least use stays, even if its cost is infinite
        order = order[running]
        if len(order) > most:
            order = order[np.linspace(0, len(order) - 1, most).round().astype(int)]
        steps.append(np.divmod(order, len(own_use)))
        use, cost = use[order], cost[order]
    at, chosen = len(cost) - 1, []  # costs fall as uses grow
    for parent, choice in reversed(steps):
        chosen.append(int(choice[at]))
        at = int(parent[at])
    return chosen[::-1]
