"""Set weights to zero, in a pattern, until a share of them is: a mask that stays with the weight.

    w' = w * mask,  mask = 0 for the units of the lowest score

A unit is what the pattern prunes whole: an element (unstructured), 4, 8 or 16 consecutive output channels at
one input and tap (1x4, 1x8, 1x16), a filter (channel). 2:4 and 4:8 keep the best 2 of every 4 (4 of every 8)
consecutive inputs of an output and tap, which fixes the share. Scores are, averaged over a unit,

    magnitude   |w| over the root mean square of its layer, so that layers can be compared
    global      |w| as it is; all layers are ranked together unless a distribution is given
    random      drawn by ``seed`` and the weight's name: the control

and `nbcnn.passes.prune_allocate` has the distributions uniform, erk and global. Units of equal score go by
their index, units that a mask has pruned already first: to prune again, further, only adds zeros. A layer
keeps at least one unit.

``keep`` names layers that stay as they are, by name, shell pattern or the words first, last and depthwise.
``layers`` gives layers a share of their own, whether kept or not; the first name that fits counts, and the
rest are pruned to ``sparsity`` together. With ``threshold`` in place of a share every unit of a lower score
goes. Layers are convolutions and dense, those inside fused nodes too, and are named as their nodes. It works
on the weights as they are: before `fuse-conv-bn` those that were trained, behind it those that run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar

import numpy as np

from nbcnn.errors import OptionError, PassError, nearest
from nbcnn.ir import Graph, Rewriter
from nbcnn.passes import prune_allocate, prune_layers, prune_scores
from nbcnn.passes import prune_patterns as patterns
from nbcnn.passes.base import Lossy, Pass
from nbcnn.passes.prune_layers import Layer

Scores = Callable[[Layer], np.ndarray]
"""The score of every unit of a layer's weight."""

Pruned = Iterator[tuple[Layer, np.ndarray]]
"""Layers, and which of the units of each go."""


@dataclass(frozen=True)
class Prune(Pass):
    """Masks on the weights of convolutions and dense layers: a share of ``sparsity`` zeros in a pattern."""

    name: ClassVar[str] = "prune"
    contract: ClassVar = Lossy(metric="output_error", bound=math.inf)

    sparsity: float | None = None
    pattern: str = "unstructured"
    criterion: str = "magnitude"
    distribution: str | None = None
    threshold: float | None = None
    keep: tuple[str, ...] = ("first", "last")
    layers: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self._word("pattern", self.pattern, tuple(patterns.PATTERNS))
        self._word("criterion", self.criterion, prune_scores.CRITERIA)
        self._word("distribution", self.distribution or "uniform", prune_allocate.DISTRIBUTIONS)
        fixed = patterns.PATTERNS[self.pattern].zeros
        self._share("sparsity", self.sparsity, fixed)
        for name, share in self.layers.items():
            self._share(f"layers.{name}", share, share and fixed)
        if self.threshold is not None:
            if self.sparsity is not None or fixed or self.distribution or self.criterion == "random":
                raise self._wrong(
                    "threshold", "stands alone: no sparsity, distribution, N:M or random scores"
                )
            if not (self.threshold >= 0 and math.isfinite(self.threshold)):
                raise self._wrong("threshold", f"must be at least 0, got {self.threshold}")
        elif self.sparsity is None and not fixed and not self.layers:
            raise self._wrong("sparsity", "is missing: a share of zeros from 0 to below 1, such as 0.9")
        if fixed and self.distribution:
            raise self._wrong(
                "distribution", f"has no meaning: {self.pattern} fixes the share of every layer"
            )
        if self.seed < 0:
            raise self._wrong("seed", f"must be at least 0, got {self.seed}")

    def _wrong(self, option: str, why: str) -> PassError:
        return PassError(f"pass '{self.name}', option '{option}': {why}")

    def _word(self, option: str, word: str, known: tuple[str, ...]) -> None:
        if word not in known:
            raise self._wrong(option, f"unknown '{word}'{nearest(word, known)}")

    def _share(self, option: str, share: float | None, fixed: float | None) -> None:
        if share is not None and not 0 <= share < 1:
            raise self._wrong(option, f"must be from 0 to below 1, got {share}")
        if share is not None and fixed and share != fixed:
            raise self._wrong(option, f"must be {fixed} for {self.pattern}, got {share}")

    def run(self, rw: Rewriter) -> None:
        layers = prune_layers.layers(rw.graph)
        shares = self._shares(layers)
        layers = [x for x in layers if x.weight in shares]
        self._check_shapes(layers)
        layers = [x for x in layers if self._finite(rw, x)]
        for layer, mask in self._masks(rw.graph, layers, shares):
            weight = rw.graph.weight(layer.weight)
            old = np.ones(mask.shape, bool) if weight.mask is None else weight.mask
            mask = mask & old
            if np.array_equal(mask, old):
                continue
            zeros = mask.size - np.count_nonzero(mask)
            what = f"{zeros:,} of {mask.size:,} weights pruned ({zeros / mask.size:.2%}, {self.pattern})"
            if not rw.begin(layer.node, what):
                return
            mask.flags.writeable = False
            rw.replace_weight(layer.weight, weight.masked(mask).marked(None))

    @property
    def _form(self) -> patterns.Pattern:
        return patterns.PATTERNS[self.pattern]

    def _shares(self, layers: list[Layer]) -> dict[str, float | None]:
        """The weights to prune, and the share of those that ``layers`` names."""
        found: dict[str, float | None] = {}
        for name, fitting in prune_layers.chosen(layers, self.layers).items():
            for layer in fitting:
                found.setdefault(layer.weight, self.layers[name])
        stay = {w for w, share in found.items() if share == 0}
        if not self.sparsity and self.threshold is None and not self._form.zeros:
            stay |= {x.weight for x in layers}
        for fitting in prune_layers.chosen(layers, self.keep, words=True).values():
            stay |= {x.weight for x in fitting}
        rest = [x.weight for x in layers if x.weight not in stay and x.weight not in found]
        return {w: share for w, share in found.items() if share} | dict.fromkeys(rest)

    def _check_shapes(self, layers: list[Layer]) -> None:
        """Raise OptionError where the pattern does not fit the weight of a layer."""
        whys = {x: why for x in layers if (why := patterns.obstacle(self._form, x.shape, x.groups))}
        for layer, why in whys.items():
            more = f" and {len(whys) - 1} more" if len(whys) > 1 else ""
            word = "'depthwise'" if layer.depthwise else "it"
            raise OptionError(
                f"layer '{layer.name}'{more}: {why}; prune it unstructured, or name {word} in 'keep'"
            )

    def _finite(self, rw: Rewriter, layer: Layer) -> bool:
        finite = bool(np.isfinite(rw.graph.weight(layer.weight).array).all())
        if not finite:
            rw.refuse(layer.node, f"'{layer.weight}' is not finite everywhere")
        return finite

    def _masks(
        self, graph: Graph, layers: list[Layer], shares: Mapping[str, float | None]
    ) -> Iterator[tuple[Layer, np.ndarray]]:
        """The mask of each layer."""

        def scores(layer: Layer) -> np.ndarray:
            weight = graph.weight(layer.weight)
            return prune_scores.scores(weight, layer.weight, self._form, self.criterion, self.seed)

        if self._form.zeros:
            for layer in layers:
                yield layer, patterns.best_of_each(scores(layer).reshape(layer.shape), self._form)
            return
        rest = [x for x in layers if shares[x.weight] is None]
        for layer, pruned in chain(self._alone(layers, shares, scores), self._together(rest, scores)):
            yield layer, patterns.spread(~pruned, layer.shape, self._form)

    def _alone(self, layers: list[Layer], shares: Mapping[str, float | None], scores: Scores) -> Pruned:
        """Which units go of the layers with a share of their own."""
        for layer in layers:
            if (share := shares[layer.weight]) is not None:
                (count,) = prune_allocate.uniform([self._units(layer)], share)
                yield layer, prune_allocate.lowest(scores(layer), count)

    def _together(self, layers: list[Layer], scores: Scores) -> Pruned:
        """Which units go of the layers that share one target."""
        counts = [self._units(layer) for layer in layers]
        distribution = self.distribution or ("global" if self.criterion == "global" else "uniform")
        if self.threshold is not None:
            for layer in layers:
                own = scores(layer)
                pruned = own < self.threshold
                pruned[own.argmax()] = False
                yield layer, pruned
        elif not layers or self.sparsity is None:
            return
        elif distribution == "global":
            sizes = [layer.size // n for layer, n in zip(layers, counts, strict=True)]
            yield from zip(
                layers, prune_allocate.together([*map(scores, layers)], sizes, self.sparsity), strict=True
            )
        else:
            shapes = [layer.shape for layer in layers]
            if distribution == "erk":
                counts = prune_allocate.erk(counts, shapes, self.sparsity)
            else:
                counts = prune_allocate.uniform(counts, self.sparsity)
            for layer, count in zip(layers, counts, strict=True):
                yield layer, prune_allocate.lowest(scores(layer), count)

    def _units(self, layer: Layer) -> int:
        """How many units the layer's weight has."""
        return layer.shape[0] if self.pattern == "channel" else layer.size // self._form.block
