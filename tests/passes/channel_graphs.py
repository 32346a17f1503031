"""Random graphs whose channels depend on each other in every way that pruning has to follow."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import ACTIVATIONS, Builder

from nbcnn.ir import Graph, Node
from nbcnn.ops.activation import Sigmoid
from nbcnn.ops.arithmetic import Add, Mul, Prelu
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.dropout import Dropout
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.softmax import Softmax
from nbcnn.ops.split import Split

KINDS = (
    *("conv", "conv", "conv", "depthwise", "grouped", "spread", "norm", "act", "pool", "drop"),
    *("residual", "residual", "sum", "concat", "split", "squeeze", "scale", "prelu", "mixed"),
)


@st.composite
def channel_graphs(draw: st.DrawFn, most: int = 12) -> Graph:
    """A float64 graph of planes of one size; at times a dense head, several outputs."""
    build = Builder("float64", draw(st.integers(0, 9999)))
    values = [build.input(draw(st.integers(1, 4)), 4, 5)]
    values.append(build("stem", Conv2d(draw(st.integers(2, 9)), 3, padding=1), values[0]))
    for number in range(draw(st.integers(2, most))):
        values += _step(draw, build, draw(st.sampled_from(KINDS)), f"n{number}", values)
    last = values[-1]
    if draw(st.booleans()):
        last = build("flat", draw(st.sampled_from((Flatten(), Reshape((0, -1))))), last)
        last = build("hidden", Dense(draw(st.integers(2, 6))), last)
        last = build("head_norm", BatchNorm(), last) if draw(st.booleans()) else last
    elif draw(st.booleans()):
        last = build("flat", Flatten(), build("mean", GlobalAvgPool(), last))
    else:
        return build.graph(build("last", Conv2d(3, 1), last), *draw(st.sampled_from(((), (values[1],)))))
    return build.graph(build("fc", Dense(3), last))


def _step(draw: st.DrawFn, build: Builder, kind: str, name: str, values: list[str]) -> list[str]:
    """One or two nodes, and the values to go on with."""
    x = draw(st.sampled_from(values[-3:]))
    c = int(build.types[x].shape[1])
    kernel = draw(st.sampled_from((1, 3)))
    if kind == "conv":
        op = Conv2d(draw(st.integers(1, 9)), kernel, padding=kernel // 2, bias=draw(st.booleans()))
        return [build(name, op, x)]
    if kind == "depthwise":
        op = Conv2d(c * draw(st.integers(1, 2)), kernel, padding=kernel // 2, groups=c)
        return [build(name, op, x)]
    if kind == "grouped":
        groups = draw(st.sampled_from([g for g in (2, 3) if c % g == 0] or [1]))
        return [build(name, Conv2d(groups * draw(st.integers(1, 4)), 1, groups=groups), x)]
    if kind == "spread":
        groups = draw(st.sampled_from([g for g in (1, 2, c) if c % g == 0]))
        return [build(name, ConvTranspose2d(groups * draw(st.integers(1, 4)), 1, groups=groups), x)]
    if kind == "residual":
        y = build(f"{name}.conv", Conv2d(c, kernel, padding=kernel // 2), x)
        return [build(name, Add(), *draw(st.permutations([x, y])))]
    if kind == "sum":
        fits = [v for v in values if build.types[v] == build.types[x]]
        return [build(name, Add(), x, draw(st.sampled_from(fits)))]
    if kind == "concat":
        parts = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
        return [build(name, Concat(), x, *parts)] if c < 12 else []
    if kind == "split":
        return _split(draw, build, name, x, c)
    if kind == "squeeze":
        y = build(f"{name}.mean", GlobalAvgPool(), x)
        y = build(f"{name}.fc1", Conv2d(draw(st.integers(1, 4)), 1), y)
        y = build(f"{name}.gate", Sigmoid(), build(f"{name}.fc2", Conv2d(c, 1), y))
        return [build(name, Mul(), *draw(st.permutations([x, y])))]
    if kind == "scale":
        shape = draw(st.sampled_from(((c, 1, 1), (1,))))
        return [build(name, Mul(), x, build.weight(f"{name}.factor", build.rng.normal(size=shape)))]
    if kind == "prelu":
        return [build(name, Prelu(), x, build.weight(f"{name}.slope", build.rng.normal(size=(c, 1, 1))))]
    plain = {
        "norm": BatchNorm(),
        "act": draw(st.sampled_from(ACTIVATIONS)),
        "pool": draw(st.sampled_from((MaxPool(3, 1, 1), AvgPool(3, 1, 1)))),
        "drop": Dropout(),
        "mixed": Softmax(1) if draw(st.integers(0, 3)) == 0 else Dropout(),
    }
    return [build(name, plain[kind], x)]


def _split(draw: st.DrawFn, build: Builder, name: str, x: str, channels: int) -> list[str]:
    if channels < 2:
        return []
    first = draw(st.integers(1, channels - 1))
    op = Split((first, channels - first))
    parts = (f"{name}.a", f"{name}.b")
    build.nodes.append(Node(name, op, (x,), parts))
    build.types.update(zip(parts, op.infer(build.types[x]), strict=True))
    return list(parts)
