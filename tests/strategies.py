"""Small graphs for tests: `Builder` writes one by hand, `graphs` lets Hypothesis draw one.

build = Builder()
x = build.input(3, 8, 8)
c = build("conv", Conv2d(4, 3), x)          # weights conv.weight, conv.bias are drawn
graph = build.graph(build("act", Relu(), c))
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from nbcnn.errors import ShapeError
from nbcnn.ir import Graph, Node, Op, Param, TensorType, Weight
from nbcnn.ops.activation import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Tanh,
)
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.elementary import Abs, Erf, Neg
from nbcnn.ops.pad import Pad
from nbcnn.ops.piecewise import Clip, Shrink
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reduce import ReduceMean
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.smooth import Celu, Mish, Selu, Softplus, Softsign
from nbcnn.ops.softmax import Softmax
from nbcnn.ops.transpose import Transpose

ACTIVATIONS: tuple[Op, ...] = (
    Relu(),
    Relu6(),
    LeakyRelu(0.1),
    Elu(),
    Silu(),
    HardSwish(),
    HardSigmoid(),
    Gelu(),
    Sigmoid(),
    Tanh(),
    Clip(-0.5, 1.5),
    Celu(0.7),
    Selu(),
    Softplus(),
    Softsign(),
    Mish(),
    Silu(0.5),
    Shrink(0.3, 0.3),
    Abs(),
    Neg(),
    Erf(),
)


class Builder:
    """Collects nodes in order; each call adds one and returns its value's name."""

    def __init__(self, dtype: str = "float32", seed: int = 0) -> None:
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)
        self.types: dict[str, TensorType] = {}
        self.inputs: dict[str, TensorType] = {}
        self.weights: dict[str, Weight] = {}
        self.nodes: list[Node] = []

    def input(self, *shape: int, name: str = "x") -> str:
        """An input of ``shape``, a batch axis in front."""
        self.inputs[name] = self.types[name] = TensorType(("N", *shape), self.dtype)
        return name

    def weight(self, name: str, array: np.ndarray, mask: np.ndarray | None = None) -> str:
        """A weight, for a slot of a node or as an operand."""
        weight = Weight.of(np.asarray(array, self.dtype))
        self.weights[name] = weight if mask is None else weight.masked(mask)
        self.types[name] = weight.type
        return name

    def __call__(self, name: str, op: Op, *data: str, **slots: str) -> str:
        """A node; weights are drawn as ``name.slot`` unless ``slots`` names one that exists."""
        types = [self.types[v] for v in data]
        (result,) = op.infer(*types)
        names = []
        for slot, param in op.params(*types).items():
            if slot not in slots:
                self.weight(f"{name}.{slot}", self._draw(slot, param))
            names.append(slots.get(slot, f"{name}.{slot}"))
        self.nodes.append(Node(name, op, (*data, *names), (name,)))
        self.types[name] = result
        return name

    def graph(self, *outputs: str | Mapping[str, str]) -> Graph:
        """The graph with these results (names, or one mapping)."""
        results = outputs[0] if isinstance(outputs[0], Mapping) else outputs
        return Graph.build("test", self.inputs, self.nodes, self.weights, results)

    def _draw(self, slot: str, param: Param) -> np.ndarray:
        shape = param.type.shape
        if slot == "running_var":
            return self.rng.uniform(0.5, 1.5, shape)
        if param.init == "scale":
            return self.rng.uniform(0.5, 1.5, shape) * self.rng.choice((-1, 1), shape)
        fan_in = max(int(np.prod(shape[1:])), 1) if len(shape) > 1 else 10
        return self.rng.normal(0, np.sqrt(1.5 / fan_in), shape)


def arrays(graph: Graph, batch: int = 2, seed: int = 1) -> dict[str, np.ndarray]:
    """An array for every input of ``graph``."""
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=t.extents(batch)).astype(t.dtype) for k, t in graph.inputs.items()}


def every_op(graph: Graph) -> list[str]:
    """The operators in order, those of a fused node in brackets: ``conv2d [conv2d relu] softmax``."""
    return [
        f"[{' '.join(n.op.name for n in node.op.body.nodes)}]" if node.op.name == "fused" else node.op.name
        for node in graph.nodes
    ]


@st.composite
def graphs(draw: st.DrawFn, dtype: str = "float32", most: int = 8) -> Graph:
    """A valid graph of up to ``most`` image operators, at times a head, dead ends, several outputs.

    Convolutions of all kinds, transposed ones, pooling, means, pads, batch norm, additions and products
    with other branches (of the same type, and broadcast), concat, activations, dropout; then flatten,
    dense, softmax.
    """
    build = Builder(dtype, draw(st.integers(0, 9999)))
    values = [build.input(draw(st.integers(1, 4)), draw(st.integers(3, 8)), draw(st.integers(3, 8)))]
    for number in range(draw(st.integers(1, most))):
        x = draw(st.sampled_from(values[-2:]))  # mostly a chain, so that fusions occur
        op, others = draw(_image_step(build, x, values))
        try:
            values.append(build(f"{op.name}{number}", op, x, *others))
        except ShapeError:
            continue  # a window larger than the plane
    if draw(st.booleans()):
        values.append(_head(draw, build, values[-1]))
    outputs = {"y": values[-1]}
    if draw(st.booleans()):
        outputs["z"] = draw(st.sampled_from(values[1:] or values))
    if values[-1] == "x":
        outputs = {"y": build("relu", Relu(), "x")}
    return build.graph(outputs)


_KINDS = ["conv", "conv", "bn", "act", "act", "add", "add", "mul", "pool", "pool", "concat", "dropout"]
_KINDS += ["pad", "mean", "spread", "turn"]


@st.composite
def _image_step(draw: st.DrawFn, build: Builder, x: str, values: list[str]) -> tuple[Op, tuple[str, ...]]:
    """An operator for image ``x``, and its other operands."""
    kind = draw(st.sampled_from(_KINDS))
    type_ = build.types[x]
    if kind == "conv":
        return draw(convolutions(int(type_.shape[1]))), ()
    if kind == "act":
        return draw(st.sampled_from(ACTIVATIONS)), ()
    if kind == "pool":
        return draw(pools()), ()
    if kind == "pad":
        return Pad(draw(st.sampled_from((0, 1, (0, 1, 2, 0)))), draw(st.sampled_from((0.0, 0.0, -1.0)))), ()
    if kind == "mean":
        return ReduceMean(draw(st.sampled_from(((2, 3), (-1, -2), (1,), (3,))))), ()
    if kind == "spread":
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        return ConvTranspose2d(draw(st.integers(1, 3)), kernel, stride, bias=draw(st.booleans())), ()
    if kind == "turn":
        return Transpose((0, 1, 3, 2)), ()
    if kind in ("add", "mul"):
        fits = [v for v in values if _meet(build.types[v], type_)]
        return (Add() if kind == "add" else Mul()), (draw(st.sampled_from(fits)),)
    if kind == "concat":
        fits = [v for v in values if build.types[v].shape[2:] == type_.shape[2:]]
        return Concat(), tuple(draw(st.lists(st.sampled_from(fits), max_size=2)))
    return (BatchNorm() if kind == "bn" else Dropout()), ()


def _meet(a: TensorType, b: TensorType) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a.shape, b.shape, strict=True))


@st.composite
def convolutions(draw: st.DrawFn, channels: int) -> Conv2d:
    """A convolution of an image with ``channels`` channels: often one that keeps its shape."""
    if draw(st.booleans()):
        return Conv2d(channels, draw(st.sampled_from((1, 3))), padding="same", bias=draw(st.booleans()))
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    return Conv2d(
        channels=groups * draw(st.integers(1, 3)),
        kernel=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        stride=draw(st.integers(1, 2)),
        padding=draw(st.sampled_from(("same", "valid", 1, (0, 1), (0, 1, 2, 1)))),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        flip=draw(st.booleans()),
    )


@st.composite
def pools(draw: st.DrawFn) -> Op:
    """Any kind of pooling."""
    kind = draw(st.sampled_from((MaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool)))
    if kind in (GlobalAvgPool, GlobalMaxPool):
        return kind()
    kernel = draw(st.integers(1, 5))
    padding = draw(st.integers(0, kernel // 2))
    options = {"count_include_pad": draw(st.booleans())} if kind is AvgPool else {}
    return kind(kernel, draw(st.integers(1, 2)), padding, ceil_mode=draw(st.booleans()), **options)


def _head(draw: st.DrawFn, build: Builder, x: str) -> str:
    flat = draw(st.sampled_from((Flatten(), Reshape(("N", -1)), ReduceMean((2, 3), keepdims=False))))
    x = build("flatten", flat, x)
    x = build("dense", Dense(draw(st.integers(1, 6)), draw(st.booleans())), x)
    if draw(st.booleans()):
        x = build("norm", BatchNorm(), x)
    if draw(st.booleans()):
        x = build("act", draw(st.sampled_from(ACTIVATIONS)), x)
    return build("softmax", Softmax(), x) if draw(st.booleans()) else x
