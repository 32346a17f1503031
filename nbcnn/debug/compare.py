"""Two graphs side by side on the same inputs, tensor by tensor in the float64 reference, in a stream.

Two ways of comparing the values that bear one name in both:

- *each by itself* (no ``rtol``): a node of the second graph is given the first graph's values as operands,
  wherever these exist there. An error is then charged to where it arises and cannot hide behind a softmax or
  add up on the way, so that the tolerance can be tight: what rounding the new weights once or twice explains.
- *from end to end* (``rtol``): each graph computes with its own values; the largest error of a tensor may be
  ``rtol`` times its largest element.

Values inside fused nodes are compared like all others. Arrays live as long as something still reads them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from nbcnn import reference
from nbcnn.debug.graphs import cut, flat
from nbcnn.debug.inputs import Inputs
from nbcnn.ir import Graph, Node

SLACK = 4
"""How many roundings of a new weight are no fault: several rewrites may have changed it."""


@dataclass(frozen=True)
class Tensor:
    """A value in two runs. It is right while ``excess``, its worst error in units of the tolerance, is <= 1.

    ``sqnr`` is the ratio of signal to error in dB, infinite for equal values; ``worst`` the index of the
    element furthest over its tolerance and ``error`` its absolute error.
    """

    name: str
    sqnr: float
    excess: float
    error: float = 0.0
    worst: tuple[int, ...] = ()

    @property
    def right(self) -> bool:
        return self.excess <= 1


def measure(name: str, want: np.ndarray, got: np.ndarray, limit: np.ndarray | float) -> Tensor:
    """``got`` against ``want``; ``limit`` is the tolerance, elementwise or for all."""
    if want.shape != got.shape:
        return Tensor(name, -math.inf, math.inf)
    if not want.size:
        return Tensor(name, math.inf, 0.0)
    want = want.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        equal = (got == want) | (np.isnan(got) & np.isnan(want))
        errors = np.where(equal, 0, abs(got - want))
        ratios = np.nan_to_num(np.where(equal, 0, errors / limit), nan=np.inf, posinf=np.inf)
        noise, signal = float((errors * errors).sum()), float((want * want).sum())
    worst = np.unravel_index(int(ratios.argmax()), ratios.shape)
    if noise == 0:
        sqnr = math.inf
    elif math.isfinite(noise) and signal > 0:
        sqnr = 10 * math.log10(signal / noise)
    else:
        sqnr = -math.inf
    return Tensor(name, sqnr, float(ratios[worst]), float(errors[worst]), tuple(map(int, worst)))


def differences(
    before: Graph,
    after: Graph,
    inputs: Inputs,
    *,
    exact: bool = False,
    rtol: float | None = None,
    only: Collection[str] | None = None,
) -> Iterator[Tensor]:
    """The values and results that ``before`` and ``after`` share, in the order in which ``after`` makes them.

    What cannot differ is left out. ``exact`` asks for bitwise equality, ``only`` for these names alone (and
    computes no more than they need).
    """
    return _Comparison(flat(before), flat(after), inputs, exact, rtol, only).run()


class _Comparison:
    """One walk through ``new``, with ``old`` a stream that is pulled along."""

    def __init__(
        self,
        old: Graph,
        new: Graph,
        inputs: Inputs,
        exact: bool,
        rtol: float | None,
        only: Collection[str] | None,
    ) -> None:
        self.old, self.new, self.exact, self.rtol = old, new, exact, rtol
        self.inputs = reference.bind_inputs(old, inputs, np.float64)
        untouched = self._untouched()
        shared = {v for v in _made(new) if v in old and not old.is_weight(v)}
        self.borrowed = {*old.inputs} | (shared if rtol is None else untouched)
        self.checks: dict[str, list[tuple[str, str]]] = {}
        pairs = [(v, v, v) for v in (*_made(new), *new.weights) if v in old and not old.is_weight(v)]
        pairs += [(k, old.outputs[k], v) for k, v in new.outputs.items() if old.outputs[k] != v]
        for label, source, value in pairs:
            same = source == value and value in untouched
            if not same and (only is None or label in only):
                self.checks.setdefault(value, []).append((label, source))
        self.nodes = self._needed()
        self.uses = Counter(s for found in self.checks.values() for _, s in found)
        self.uses.update(v for n in self.nodes for v in n.inputs if v in self.borrowed)
        self.arrays: dict[str, np.ndarray] = {}
        self.stream = self._stream()

    def run(self) -> Iterator[Tensor]:
        own: dict[str, np.ndarray] = {}
        errors: dict[str, np.ndarray] = {}
        readers = Counter(v for n in self.nodes for v in n.inputs)
        for value in self.checks:
            if self.new.is_weight(value) or self.new.is_input(value):
                array = self._borrow(value) if self.new.is_input(value) else self._weight(value)
                yield from self._check(value, array, SLACK * _unit(self.new, value) * abs(array))
        for node in self.nodes:
            operands = [self._operand(v, own) for v in node.inputs]
            results = node.op.reference(*operands)
            bounds = self._bounds(node, operands, errors) if self.rtol is None and not self.exact else None
            for slot, (value, array) in enumerate(zip(node.outputs, results, strict=True)):
                limit = np.zeros(())
                if bounds is not None:
                    errors[value] = bounds[slot] + _unit(self.new, value) * abs(array)
                    limit = SLACK * errors[value] + float(np.finfo(np.float32).smallest_normal)
                yield from self._check(value, array, limit)
                if readers[value] and value not in self.borrowed:
                    own[value] = array
                else:
                    errors.pop(value, None)
            for value in node.inputs:
                readers[value] -= 1
                self._release(value)
                if not readers[value]:
                    own.pop(value, None)
                    errors.pop(value, None)

    # -- what has to be computed -----------------------------------------------------------------

    def _untouched(self) -> set[str]:
        """Values of ``new`` whose node is that of ``old`` (and, end to end, so is all above it)."""
        found = {v for v in self.new.inputs if v in self.old}
        for node in self.new.nodes:
            if all(v in self.old for v in node.outputs):
                twin = self.old.producer(node.outputs[0])
                alike = twin and (twin.op, twin.inputs, twin.outputs) == (node.op, node.inputs, node.outputs)
                weights = all(self._same(v) for v in node.inputs)
                if (
                    alike
                    and weights
                    and (self.rtol is None or all(self._known(v, found) for v in node.inputs))
                ):
                    found.update(node.outputs)
        return found

    def _known(self, value: str, found: set[str]) -> bool:
        return value in found or self.new.is_weight(value)

    def _same(self, value: str) -> bool:
        """Whether ``value`` is the same weight in both graphs, or no weight in either."""
        weights = [g.weight(value) if g.is_weight(value) else None for g in (self.old, self.new)]
        return weights[0] is weights[1]

    def _needed(self) -> list[Node]:
        """The nodes of ``new`` that the checks ask for, in order."""
        wanted, nodes = {*self.checks}, list[Node]()
        for node in reversed(self.new.nodes):
            if wanted.intersection(node.outputs):
                nodes.insert(0, node)
                wanted.update(v for v in node.inputs if v not in self.borrowed)
        return nodes

    # -- arrays ----------------------------------------------------------------------------------

    def _stream(self) -> Iterator[tuple[str, np.ndarray]]:
        """The values of ``old`` that are used, as they are made."""
        wanted = [v for v in self.uses if v in self.old and not self.old.is_weight(v)]
        part = cut(self.old, {v: v for v in wanted}) if wanted else None
        if part is not None and part.nodes:
            for node, _, results in reference.values(
                part, {k: self.inputs[k] for k in part.inputs}, np.float64
            ):
                yield from zip(node.outputs, results, strict=True)

    def _borrow(self, value: str) -> np.ndarray:
        """A value of ``old``."""
        if value in self.inputs:
            return self.inputs[value]
        if self.old.is_weight(value):
            return _wide(self.old.weight(value).array)
        while value not in self.arrays:
            made, array = next(self.stream)
            if self.uses[made]:
                self.arrays[made] = array
        return self.arrays[value]

    def _operand(self, value: str, own: dict[str, np.ndarray]) -> np.ndarray:
        if self.new.is_weight(value):
            return self._weight(value)
        return self._borrow(value) if value in self.borrowed else own[value]

    def _weight(self, value: str) -> np.ndarray:
        return _wide(self.new.weight(value).array)

    def _release(self, value: str) -> None:
        self.uses[value] -= value in self.uses
        if self.uses[value] <= 0:
            self.arrays.pop(value, None)

    # -- judging ---------------------------------------------------------------------------------

    def _check(self, value: str, array: np.ndarray, limit: np.ndarray | float) -> Iterator[Tensor]:
        for label, source in self.checks.get(value, ()):
            want = self._borrow(source)
            if self.rtol is not None:
                limit = self.rtol * float(abs(want).max(initial=0))
            elif self.exact:
                limit = 0.0
            if self.old.type(source) != self.new.type(value):
                yield Tensor(label, -math.inf, math.inf)
            else:
                yield measure(label, want, array, limit)
            self._release(source)

    def _bounds(
        self, node: Node, operands: list[np.ndarray], errors: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """How far rounding the new weights, and this comparison's own rounding, may move the results."""
        known = []
        for value, array in zip(node.inputs, operands, strict=True):
            if value in errors and value not in self.borrowed:
                known.append(errors[value])
            elif self.new.is_weight(value) and not self._same(value):
                known.append(_unit(self.new, value) * abs(array))
            else:
                known.append(np.zeros_like(array))
        return node.op.error(operands, known, float(np.finfo(np.float64).eps))


def _made(graph: Graph) -> list[str]:
    return [v for node in graph.nodes for v in node.outputs]


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64, copy=False) if array.dtype.kind == "f" else array


def _unit(graph: Graph, value: str) -> float:
    """The unit roundoff of a value's dtype; 0 for integers."""
    dtype = np.dtype(graph.type(value).dtype)
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 0.0
