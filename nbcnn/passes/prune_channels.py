"""Channel pruning with compaction: filters that matter least go, and with them all that belongs to them.

What is left is a dense graph with fewer channels. It computes what the whole graph does where each layer
that reads a pruned channel multiplies it by zero. Channels that stand and fall together are found by
`nbcnn.passes.channel_groups`: through additions, concatenations, splits, depthwise and grouped convolutions,
normalisation, pooling, and the flatten before a dense layer.

    score of a unit = sum over its filters of the norm of w, over the mean of its group

How much goes is either ``ratio``, a share of the channels, or what it takes for a share ``macs`` of the
multiply-accumulates to stay, by bisection. ``distribution`` uniform takes the same share of every group;
global takes the lowest scores of all. A group keeps a multiple of ``round_to`` channels, so that vectors stay
full; its last channel stays. ``keep`` names layers whose channels stay, by name, shell pattern or the words
first and last. Groups that cannot be followed are refused with the reason.

Norms of filters after Li et al., 2017 (l1); groups, and scores over their mean, after Fang et al., 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import OptionError, PassError, nearest
from nbcnn.ir import Graph, Rewriter
from nbcnn.passes import channel_cuts, channel_groups, prune_layers
from nbcnn.passes.base import Lossy, Pass
from nbcnn.passes.channel_groups import Channels

CRITERIA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "l1": lambda rows: abs(rows).sum(axis=1, dtype=np.float64),
    "l2": lambda rows: np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)),
}
"""The norm of each filter, one a row."""

DISTRIBUTIONS = ("uniform", "global")

STEPS = 40
"""Bisections until the share that goes is found."""


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Channels of the smallest filters: gone from every layer that holds them."""

    name: ClassVar[str] = "prune-channels"
    contract: ClassVar = Lossy(metric="output_error", bound=math.inf)

    ratio: float | None = None
    macs: float | None = None
    criterion: str = "l2"
    distribution: str = "uniform"
    round_to: int = 8
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.macs is None):
            raise PassError(f"pass '{self.name}' needs one of the options 'ratio' and 'macs'")
        if self.ratio is not None and not 0 <= self.ratio < 1:
            raise self._wrong("ratio", f"must be from 0 to below 1, got {self.ratio}")
        if self.macs is not None and not 0 < self.macs <= 1:
            raise self._wrong("macs", f"must be above 0, up to 1, got {self.macs}")
        self._word("criterion", self.criterion, tuple(CRITERIA))
        self._word("distribution", self.distribution, DISTRIBUTIONS)
        if self.round_to < 1:
            raise self._wrong("round_to", f"must be at least 1, got {self.round_to}")

    def _word(self, option: str, word: str, known: tuple[str, ...]) -> None:
        if word not in known:
            raise self._wrong(option, f"unknown '{word}'{nearest(word, known)}")

    def _wrong(self, option: str, why: str) -> PassError:
        return PassError(f"pass '{self.name}', option '{option}': {why}")

    def run(self, rw: Rewriter) -> None:
        graph = rw.graph
        channels = channel_groups.of(graph)
        scores = _scores(graph, channels, CRITERIA[self.criterion])
        for unit in np.flatnonzero(~np.isfinite(scores)).tolist():
            channels.locked.setdefault(unit, "a filter is not finite")
        self._lock_kept(graph, channels)
        groups = list(_groups(rw, channels, scores, self.round_to))
        size = channel_cuts.Sizes(graph, channels)

        def without(level: float) -> np.ndarray:
            return _lowest(groups, scores, level, self.distribution == "global")

        planned = without(self.ratio) if self.ratio is not None else self._until(size, groups, without)
        planned = channels.spare(planned, scores)
        gone, before = np.zeros_like(planned), _figures(size, np.zeros_like(planned))
        for group in groups:
            count = int(planned[group.units].sum())
            if not count:
                continue
            more = gone.copy()
            more[group.units] = planned[group.units]
            all_, after = len(group.units) * group.width, _figures(size, more)
            what = f"{all_} channels to {all_ - count * group.width}; {before} to {after}"
            if not rw.begin(group.maker, what):
                break
            gone, before = more, after
        if gone.any():
            channel_cuts.cut(rw, channels, gone)

    def _lock_kept(self, graph: Graph, channels: Channels) -> None:
        """Lock the outputs of the layers that ``keep`` names; raises OptionError for one that is none."""
        for name, layers in prune_layers.chosen(prune_layers.layers(graph), self.keep, words=True).items():
            for node in (node for layer in layers for node in layer.names if node in graph):
                for unit in channels.units.get(node, np.zeros(0, int)).tolist():
                    channels.locked.setdefault(unit, f"'{name}' is to be kept")

    def _until(
        self, size: channel_cuts.Sizes, groups: list[_Group], without: Callable[[float], np.ndarray]
    ) -> np.ndarray:
        """As few units as it takes for the MACs to reach their target; raises OptionError where none do."""
        assert self.macs is not None
        low, high = 0.0, 1.0
        all_, least = size.macs(without(0) & False), size.macs(without(high))
        if all_ is None or least is None:
            raise OptionError("option 'macs' needs the height and width as numbers: bind them with 'shapes'")
        if least > self.macs * all_:
            raise OptionError(f"macs={self.macs} is out of reach: {least / all_:.3g} of them stay at least")
        if all_ <= self.macs * all_:
            return without(low)
        for _ in range(STEPS):
            middle = (low + high) / 2
            found = size.macs(without(middle))
            assert found is not None
            low, high = (low, middle) if found <= self.macs * all_ else (middle, high)
        gone, enough = without(low), without(high)
        for group in groups:  # between the two many groups may lie: not all of them need the last step
            found = size.macs(gone)
            assert found is not None
            if found <= self.macs * all_:
                break
            gone[group.units] = enough[group.units]
        return gone


@dataclass(frozen=True)
class _Group:
    """Units that are pruned together: all, and the free ones by score, the lowest first.

    Each stands for ``width`` channels of layer ``maker``; a multiple of ``step`` units stays.
    """

    maker: str
    units: np.ndarray
    free: np.ndarray
    width: int
    step: int

    def lowest(self, wanted: float) -> np.ndarray:
        """The units to take when about ``wanted`` of them should go: no more than that."""
        kept = self.step * math.ceil((len(self.units) - wanted) / self.step - 1e-9)
        return self.free[: max(len(self.units) - max(kept, self.step), 0)]


def _groups(rw: Rewriter, channels: Channels, scores: np.ndarray, round_to: int) -> Iterator[_Group]:
    """The groups of which something may go; the others are refused."""
    for number, maker in channels.makers().items():
        units = np.flatnonzero(channels.group == number)
        free = units[channels.free[units]]
        if not len(free):
            rw.refuse(maker, channels.locked[int(units[0])])
            continue
        made = channels.units[rw.graph.node(maker).output]
        width = len(made) // len(np.unique(made))
        free = free[np.argsort(scores[free], kind="stable")]
        yield _Group(maker, units, free, width, round_to // math.gcd(round_to, width))


def _lowest(groups: list[_Group], scores: np.ndarray, level: float, together: bool) -> np.ndarray:
    """The units to take, a bool for each, at a share of ``level``: of each group, or of all ``together``."""
    gone = np.zeros(len(scores), bool)
    ranked = np.sort(np.concatenate([scores[group.free] for group in groups] or [scores[:0]]))
    bar = ranked[int(level * len(ranked))] if level < 1 and len(ranked) else np.inf
    for group in groups:
        wanted = int((scores[group.free] < bar).sum()) if together else level * len(group.units)
        gone[group.lowest(wanted)] = True
    return gone


def _scores(graph: Graph, channels: Channels, norm: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The score of every unit."""
    total = np.zeros(len(channels.group))
    for name, axes in channels.along.items():
        for along in axes:
            if along.role in ("filters", "planes"):
                array = graph.weight(graph.node(name).inputs[along.slot]).array
                own = norm(np.moveaxis(array, along.axis, 0).reshape(array.shape[along.axis], -1))
                np.add.at(total, along.units, own)
    sums = np.bincount(channels.group, total)
    counts = np.bincount(channels.group)
    means = (sums / np.maximum(counts, 1))[channels.group]
    return np.divide(total, means, out=np.zeros_like(total), where=means != 0)


def _figures(size: channel_cuts.Sizes, gone: np.ndarray) -> str:
    macs = size.macs(gone)
    return f"{size.parameters(gone):,} parameters" + ("" if macs is None else f" and {macs:,} MACs")
