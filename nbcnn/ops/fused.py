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

    def _types(self, *data: TensorType) -> dict[str, TensorType]:
        """The type of every value of the body and of every weight; raises ShapeError."""
        body = self.body
        types = dict(zip(body.inputs, data, strict=True))
        for node in body.nodes:
            if missing := [v for v in node.data if v not in types]:
                raise ShapeError(f"fused body reads '{missing[0]}', which nothing makes", node=node.name)
            operands = tuple(types[v] for v in node.data)
            wanted = node.op.params(*operands)
            for value, param in zip(node.weights, wanted.values(), strict=False):
                if value in body.weights:
                    types.setdefault(value, param.type)
            if missing := [v for v in node.weights if v not in types]:
                raise ShapeError(f"fused body has no weight '{missing[0]}'", node=node.name)
            made = check_node(node, operands, tuple(types[v] for v in node.weights))
            types.update(zip(node.outputs, made, strict=True))
        if missing := [v for v in (*body.weights, *body.outputs) if v not in types]:
            raise ShapeError(f"'{missing[0]}' of the fused body is never made or used")
        return types

    def params(self, *types: TensorType) -> dict[str, Param]:
        known = self._types(*types)
        found: dict[str, Param] = {}
        for node in self.body.nodes:
            wanted = node.op.params(*(known[v] for v in node.data))
            found.update(zip(node.weights, wanted.values(), strict=True))
        return {name: found[name] for name in self.body.weights}

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        found = self._types(*types)
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

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        """Carries (value, bound) pairs from node to node, as though each rounded its own result."""
        values = self.values(*arrays)
        known = dict(zip(self.body.inputs + self.body.weights, bounds, strict=True))
        for node in self.body.nodes:
            made = node.op.error([values[v] for v in node.inputs], [known[v] for v in node.inputs], u)
            known.update(zip(node.outputs, made, strict=True))
        return tuple(known[v] for v in self.body.outputs)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        types = self._types(*inputs[: len(self.body.inputs)])
        return sum(
            n.op.macs([types[v] for v in n.inputs], [types[v] for v in n.outputs]) for n in self.body.nodes
        )

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        types = self._types(*inputs[: len(self.body.inputs)])
        return max(n.op.reduction([types[v] for v in n.inputs]) for n in self.body.nodes)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        from nbcnn.ops.activation import Relu, Silu
        from nbcnn.ops.arithmetic import Add
        from nbcnn.ops.batch_norm import BatchNorm
        from nbcnn.ops.conv2d import Conv2d
        from nbcnn.ops.dense import Dense

        x, row = TensorType(("N", 6, 5, 7)), TensorType(("N", 33))
        conv = Node("conv", Conv2d(8, (3, 3), padding=(1, 1, 1, 1)), ("x", "w", "b"), ("conv",))
        plain = Node("conv", Conv2d(6, (1, 1), bias=False), ("x", "w"), ("conv",))
        norm = Node("norm", BatchNorm(), ("conv", "s", "t", "m", "v"), ("norm",))
        dense = Node("dense", Dense(10), ("x", "w", "b"), ("dense",))

        def act(op: Op, value: str) -> Node:
            return Node("act", op, (value,), ("act",))

        def add(*operands: str) -> Node:
            return Node("sum", Add(), operands, ("sum",))

        yield Sample(cls(Body(("x",), ("w", "b"), (conv, act(Relu(), "conv")), ("act",))), (x,))
        yield Sample(
            cls(Body(("x", "r"), ("w", "b"), (conv, add("conv", "r"), act(Relu(), "sum")), ("act",))),
            (x, TensorType(("N", 8, 5, 7))),
            note="residual",
        )
        yield Sample(
            cls(Body(("x",), ("w",), (plain, add("conv", "x")), ("sum",))), (x,), note="its own input added"
        )
        yield Sample(
            cls(
                Body(
                    ("x",),
                    ("w", "s", "t", "m", "v"),
                    (plain, norm, act(Silu(), "norm")),
                    ("act", "norm"),
                )
            ),
            (x,),
            note="two results",
        )
        yield Sample(cls(Body(("x",), ("w", "b"), (dense, act(Relu(), "dense")), ("act",))), (row,))
        for weights, nodes, word in (
            (("w",), (conv,), "weight 'b'"),
            (("w", "b"), (conv, add("conv", "r")), "'r'"),
            (("w", "b", "c"), (conv,), "'c'"),
            (("w", "b"), (conv, add("conv", "x")), "axis 1"),
        ):
            yield Sample(cls(Body(("x",), weights, nodes, nodes[-1].outputs)), (x,), error=word)
