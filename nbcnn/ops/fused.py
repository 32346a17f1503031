"""The one form of fusion: an operator whose body is ordinary nodes, computed as one step.

``Fused(Body(("x", "w", "r"), (conv, add, relu), ("relu",)))``: the meaning, cost and gradient of a
fused node are its body's; kernels match bodies; nested bodies do not occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.graph import Node, check_node
from nbcnn.ir.op import Op, Param, Sample
from nbcnn.ir.types import TensorType


@dataclass(frozen=True)
class Body:
    """Nodes in topological order over formal ``inputs`` (data operands), ``weights`` and results."""

    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Fused(Op):
    """Several nodes as one; operands are the body's formal inputs, then its formal weights."""

    name: ClassVar[str] = "fused"
    body: Body

    @property
    def operands(self) -> tuple[str, ...]:  # type: ignore[override]  # each body has its own arity
        return self.body.inputs

    def _types(self, *data: TensorType) -> tuple[dict[str, TensorType], dict[str, Param]]:
        types = dict(zip(self.body.inputs, data, strict=True))
        params: dict[str, Param] = {}
        for node in self.body.nodes:
            if missing := [v for v in node.data if v not in types]:
                raise ShapeError(f"fused body reads '{missing[0]}', which nothing makes")
            arrays = tuple(types[v] for v in node.data)
            wanted = node.op.params(*arrays)
            params.update(zip(node.weights, wanted.values(), strict=False))
            weights = tuple(p.type for p in wanted.values())
            for value, type_ in zip(node.outputs, check_node(node, arrays, weights), strict=True):
                types[value] = type_
        return types, params

    def params(self, *types: TensorType) -> dict[str, Param]:
        found = self._types(*types)[1]
        return {name: found[name] for name in self.body.weights}

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        found = self._types(*types)[0]
        return tuple(found[v] for v in self.body.outputs)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        values = self.values(*arrays)
        return tuple(values[v] for v in self.body.outputs)

    def values(self, *arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Every value of the body by name, for operands ``arrays``."""
        values = dict(zip(self.body.inputs + self.body.weights, arrays, strict=True))
        for node in self.body.nodes:
            results = node.op.reference(*(values[v] for v in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
        return values

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        types, params = self._types(*inputs[: len(self.body.inputs)])
        types |= {k: p.type for k, p in params.items()}
        return sum(
            n.op.macs([types[v] for v in n.inputs], [types[v] for v in n.outputs]) for n in self.body.nodes
        )

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        types, params = self._types(*inputs[: len(self.body.inputs)])
        types |= {k: p.type for k, p in params.items()}
        return max(n.op.reduction([types[v] for v in n.inputs]) for n in self.body.nodes)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        return iter(())
