"""Which channels of a graph stand and fall together.

A *unit* is a set of channels that can only go together: a filter of a convolution, what a batch norm, a
depthwise convolution or a pool makes of it, and the filters that are added to it.

    conv2d, dense       make a unit for each filter and sum over the units that they read
    grouped             the channels at one place of every group are one unit: the groups stay of one size
    depthwise           carry units on, each once for each filter of a channel
    add, mul, ...       join the units of their operands, channel by channel
    concat, split       put units one after the other, or part them
    flatten, reshape    repeat a unit for each point of its plane, while the channels stay in order

Where an operator does something else with channels, they are locked, with the reason, as are those of inputs
and outputs of the graph. Units of one layer, or joined with such, are a *group*. `of` finds all this; nothing
here looks at the weights' values. After DepGraph (Fang et al., 2023), with sets in place of recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nbcnn.ir import Graph, Node, TensorType
from nbcnn.ops.activation import Activation
from nbcnn.ops.arithmetic import Binary
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.cast import Identity
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv import Conv
from nbcnn.ops.conv_transpose import ConvTranspose
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.group_norm import InstanceNorm
from nbcnn.ops.lp_pool import GlobalLpPool, LpPool
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.resize import Resize
from nbcnn.ops.split import Split
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze

Units = np.ndarray
"""A unit's number for each channel."""


@dataclass(frozen=True)
class Along:
    """Axis ``axis`` of the weight that a node takes in ``slot`` runs along ``units``.

    ``role`` is "filters" where each element makes a channel, "inputs" where the node sums over them, "planes"
    where it makes a channel of one, and "apart" for all else that belongs to a channel.
    """

    slot: int
    axis: int
    units: Units
    role: str = "apart"


@dataclass(frozen=True)
class Channels:
    """The units of a graph, numbered from 0.

    ``units`` holds them by value (axis 1), ``along`` by node for its weights, ``group`` is the number of each
    unit's group, ``locked`` says why a unit must stay.
    """

    units: dict[str, Units]
    along: dict[str, list[Along]]
    group: np.ndarray
    locked: dict[int, str]

    @property
    def free(self) -> np.ndarray:
        """Which units are not locked."""
        free = np.ones(len(self.group), bool)
        free[list(self.locked)] = False
        return free

    def makers(self) -> dict[int, str]:
        """By group, the first node that makes channels of it."""
        found: dict[int, str] = {}
        for name, axes in self.along.items():
            for axis in axes:
                if axis.role == "filters" and len(axis.units):
                    found.setdefault(int(self.group[axis.units[0]]), name)
        return found

    def spare(self, gone: np.ndarray, order: np.ndarray) -> np.ndarray:
        """``gone`` without what would leave a value no channel: the last in ``order`` (by unit) stays."""
        gone = gone.copy()
        for units in self.units.values():
            if len(units) and gone[units].all():
                gone[max(units.tolist(), key=lambda unit: (order[unit], -unit))] = False
        return gone


def of(graph: Graph) -> Channels:
    """Follow the channels of every value of ``graph``."""
    trail = _Trail(graph)
    for name, type_ in graph.inputs.items():
        if units := trail.begin(name, type_):
            trail.lock(units, f"'{name}' is an input of the graph")
    for node in graph.nodes:
        rule = next((rule for ops, rule in _RULES if isinstance(node.op, ops)), None)
        known = all(v in trail.units for v in node.data) or isinstance(node.op, Binary)
        if rule is None or not known or not all(map(graph.is_weight, node.weights)) or not rule(trail, node):
            _mixes(trail, node)
    for value in graph.outputs.values():
        trail.lock(trail.units.get(value, ()), f"'{value}' is an output of the graph")
    return trail.channels()


class _Sets:
    """Disjoint sets of whole numbers (union-find)."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def add(self, count: int) -> list[int]:
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return self.parent[first:]

    def find(self, x: int) -> int:
        while self.parent[x] != x:
            self.parent[x] = x = self.parent[self.parent[x]]
        return x

    def join(self, *runs: Sequence[int]) -> None:
        """Join what stands at one place of several runs."""
        for first, *others in zip(*runs, strict=True):
            for other in others:
                self.parent[self.find(other)] = self.find(first)


@dataclass
class _Trail:
    """What is known so far: the channels of each value as members of sets."""

    graph: Graph
    units: dict[str, list[int]] = field(default_factory=dict)
    along: dict[str, list[tuple[int, int, list[int], str]]] = field(default_factory=dict)
    locked: dict[int, str] = field(default_factory=dict)
    sets: _Sets = field(default_factory=_Sets)

    def begin(self, value: str, type_: TensorType) -> list[int]:
        """New units for a value; none where it has no axis of channels."""
        if type_.rank < 2 or not isinstance(type_.shape[1], int):
            return []
        self.units[value] = self.sets.add(type_.shape[1])
        return self.units[value]

    def lock(self, units: Iterable[int], why: str) -> None:
        for unit in units:
            self.locked.setdefault(unit, why)

    def note(self, node: Node, *axes: tuple[int, int, list[int], str]) -> bool:
        """Axes of the node's weights; those of slots that it has not are left out."""
        self.along.setdefault(node.name, []).extend(a for a in axes if a[0] < len(node.inputs))
        return True

    def channels(self) -> Channels:
        roots = np.array([self.sets.find(i) for i in range(len(self.sets.parent))], int)
        kept, number = np.unique(roots, return_inverse=True)
        along = {
            name: [Along(slot, axis, number[units], role) for slot, axis, units, role in axes]
            for name, axes in self.along.items()
        }
        groups = _Sets()
        groups.add(len(kept))
        for axes in along.values():
            for axis in axes:
                if axis.role == "filters":
                    first, *rest = axis.units.tolist()
                    groups.join([first] * len(rest), rest)
        locked = {int(number[unit]): why for unit, why in reversed(self.locked.items())}
        group = np.array([groups.find(i) for i in range(len(kept))], int)
        return Channels({v: number[units] for v, units in self.units.items()}, along, group, locked)


# -- rules: each returns False where the node does not keep channels apart as the rule has it --------


def _mixes(trail: _Trail, node: Node) -> None:
    """Lock everything that an unknown operator touches."""
    why = f"'{node.name}' ({node.op.name}) needs them all"
    for value in node.data:
        trail.lock(trail.units.get(value, ()), why)
    for value in node.outputs:
        trail.lock(trail.begin(value, trail.graph.type(value)), f"'{node.name}' ({node.op.name}) makes them")


def _layer(trail: _Trail, node: Node) -> bool:
    """conv, dense: weight [channels, C/groups, ...], bias [channels]."""
    x, groups = trail.units[node.data[0]], getattr(node.op, "groups", 1)
    made = _made(trail, node, x, groups)
    if 1 < groups == len(x):
        return trail.note(node, (1, 0, made, "planes"), (2, 0, made, "apart"))
    inputs = x[: len(x) // groups]
    return trail.note(node, (1, 0, made, "filters"), (1, 1, inputs, "inputs"), (2, 0, made, "apart"))


def _transposed(trail: _Trail, node: Node) -> bool:
    """conv_transpose: weight [C, channels/groups, ...], bias [channels]."""
    x, groups = trail.units[node.data[0]], getattr(node.op, "groups", 1)
    made = _made(trail, node, x, groups)
    if 1 < groups == len(x):
        return trail.note(node, (1, 0, x, "planes"), (2, 0, made, "apart"))
    filters = made[: len(made) // groups]
    return trail.note(node, (1, 1, filters, "filters"), (1, 0, x, "inputs"), (2, 0, made, "apart"))


def _made(trail: _Trail, node: Node, x: list[int], groups: int) -> list[int]:
    """The units of a layer's output: its own, or with a group for each channel those that it reads."""
    type_ = trail.graph.type(node.output)
    if 1 < groups == len(x):
        each = int(type_.shape[1]) // groups
        trail.units[node.output] = [unit for unit in x for _ in range(each)]
        return trail.units[node.output]
    made = trail.begin(node.output, type_)
    for units in (x, made):
        size = len(units) // groups
        trail.sets.join(*(units[i * size : (i + 1) * size] for i in range(groups)))
    return made


def _norm(trail: _Trail, node: Node) -> bool:
    x = trail.units[node.output] = trail.units[node.data[0]]
    return trail.note(node, *((slot, 0, x, "apart") for slot in range(1, len(node.inputs))))


def _apart(trail: _Trail, node: Node) -> bool:
    """Every channel for itself."""
    graph, value = trail.graph, node.data[0]
    x, y = graph.type(value), graph.type(node.outputs[0])
    if len(node.outputs) > 1 or y.rank < 2 or x.shape[:2] != y.shape[:2]:
        return False
    axes = getattr(node.op, "axes", None)
    if isinstance(node.op, ReduceMean | Resize | Pad) and (axes is None or min(a % x.rank for a in axes) < 2):
        return False
    trail.units[node.output] = trail.units[value]
    return trail.note(node)


def _elementwise(trail: _Trail, node: Node) -> bool:
    """An operand of one channel where the result has several is used for all of them."""
    graph, type_ = trail.graph, trail.graph.type(node.output)
    if type_.rank < 2 or not isinstance(type_.shape[1], int):
        return False
    joined, weights = [], []
    for slot, value in enumerate(node.inputs):
        operand = graph.type(value)
        axis = 1 - (type_.rank - operand.rank)
        spread = axis < 0 or operand.shape[axis] != type_.shape[1]
        if graph.is_weight(value):
            weights += [] if spread else [(slot, axis)]
        elif value not in trail.units or axis != 1:
            return False
        elif spread:
            trail.lock(trail.units[value], f"'{node.name}' ({node.op.name}) spreads it over channels")
        else:
            joined.append(trail.units[value])
    if not joined:
        return False
    trail.sets.join(*joined)
    trail.units[node.output] = joined[0]
    return trail.note(node, *((slot, axis, joined[0], "apart") for slot, axis in weights))


def _concat(trail: _Trail, node: Node) -> bool:
    assert isinstance(node.op, Concat)
    parts = [trail.units[v] for v in node.data]
    if node.op.axis % trail.graph.type(node.output).rank == 1:
        trail.units[node.output] = [unit for part in parts for unit in part]
    else:
        trail.sets.join(*parts)
        trail.units[node.output] = parts[0]
    return trail.note(node)


def _split(trail: _Trail, node: Node) -> bool:
    assert isinstance(node.op, Split)
    x, start = trail.units[node.data[0]], 0
    along = node.op.axis % trail.graph.type(node.data[0]).rank == 1
    for value, size in zip(node.outputs, node.op.sizes, strict=True):
        trail.units[value] = x[start : start + size] if along else x
        start += size
    return trail.note(node)


def _reshape(trail: _Trail, node: Node) -> bool:
    """The channels stay as they are, or take the points of their planes in, or are parted into planes."""
    x, y = trail.units[node.data[0]], trail.graph.type(node.output)
    if y.rank < 2 or y.shape[0] != trail.graph.type(node.data[0]).shape[0] or not isinstance(y.shape[1], int):
        return False
    before, after = len(x), y.shape[1]
    if before == after:
        trail.units[node.output] = x
    elif not before or not after:
        return False
    elif after % before == 0 and all(d == 1 for d in y.shape[2:]):
        trail.units[node.output] = [unit for unit in x for _ in range(after // before)]
    elif before % after == 0 and trail.graph.type(node.data[0]).rank == 2:
        size = before // after
        trail.sets.join(*(x[i::size] for i in range(size)))
        trail.units[node.output] = x[::size]
    else:
        return False
    return trail.note(node)


_PLAIN = (Activation, Dropout, Identity, Pad, Resize, ReduceMean)
_POOLS = (MaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, LpPool, GlobalLpPool)

_RULES: tuple[tuple[tuple[type, ...], Callable[[_Trail, Node], bool]], ...] = (
    ((Conv, Dense), _layer),
    ((ConvTranspose,), _transposed),
    ((BatchNorm, InstanceNorm), _norm),
    ((*_PLAIN, *_POOLS), _apart),
    ((Binary,), _elementwise),
    ((Concat,), _concat),
    ((Split,), _split),
    ((Flatten, Reshape, Squeeze, Unsqueeze), _reshape),
)
