"""Element-wise operators compiled: every sample of theirs has a kernel, and stays within its bound."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from strategies import Builder

import nbcnn
from nbcnn import ops, reference
from nbcnn.ir import Graph, Node, Op, TensorType, Weight
from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.lower.build import compile_graph
from nbcnn.ops.activation import Activation, Relu, Relu6, Silu
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.piecewise import Clip
from nbcnn.options import CompileOptions
from nbcnn.target import detect

SLOW = {"sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"}
"""Functions that no network of ours computes on many elements: their reference has to do."""

NATIVE = [*BINARIES, "softmax", "log_softmax"]
NATIVE += [n for n in ops.OPS if issubclass(ops.get(n), Activation) and n not in SLOW]
SAMPLES = [
    sample
    for name in NATIVE
    for sample in ops.get(name).samples()
    if sample.error is None
    and all(t.dtype == "float32" for t in sample.types)
    and getattr(sample.op, "axis", 1) in (1, -1)
]
lanes = pytest.mark.parametrize("lanes", [16, 8, 4])
IMAGE = ("N", 19, 5, 6)


def check(op: Op, types: list[TensorType], ranges, lanes: int, rng) -> None:
    """Operands that do not begin with the batch are constants."""
    names = [f"in{i}" for i in range(len(types))]

    def draw(slot: int, batch: int) -> np.ndarray:
        shape = types[slot].extents(batch)
        drawn = rng.uniform(*ranges[slot], shape) if ranges else rng.standard_normal(shape)
        return drawn.astype(np.float32)

    fixed = {n: Weight.of(draw(i, 1)) for i, n in enumerate(names) if types[i].shape[:1] != ("N",)}
    inputs = {n: t for n, t in zip(names, types, strict=True) if n not in fixed}
    graph = Graph.build("one", inputs, [Node("y", op, tuple(names), ("y",))], fixed, ("y",))
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "no kernel yet"
        model = compile_graph(graph, CompileOptions(threads=2), target=target)
    for batch in (1, 3):
        arrays = {n: draw(names.index(n), batch) for n in inputs}
        operands = [arrays[n] if n in arrays else fixed[n].array for n in names]
        assert reference.excess(op, operands, model(**arrays)) <= 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.op}-{len(s.types[0].shape)}-{s.note}")
def test_samples(sample, rng) -> None:
    check(sample.op, sample.types, sample.ranges, detect().lanes, rng)


@lanes
@pytest.mark.parametrize(
    "a, b",
    [
        (IMAGE, (1, 19, 1, 1)),
        ((19, 1, 1), IMAGE),
        (IMAGE, (5, 6)),
        (IMAGE, (1, 19, 5, 6)),
        (IMAGE, (1,)),
        (IMAGE, ("N", 1, 5, 6)),
        (("N", 1, 5, 6), IMAGE),
        (("N", 1, 5, 6), ("N", 19, 1, 1)),
        (("N", 1, 5, 6), (19, 1, 1)),
        (("N", 1, 5, 6), ("N", 1, 5, 6)),
        (("N", 19), (19,)),
        (("N", 19), ()),
        (("N",), ("N",)),
        (("N", 7, 9), (7, 1)),
        (("N", 7, 9), ("N", 1, 9)),
        (("N", 7, 1), ("N", 1, 1)),
        (("N", 16, 4, 5, 6), ("N", 16, 1, 5, 1)),
        (("N", 2, 3, 4, 5, 6), ("N", 2, 3, 4, 5, 6)),
    ],
)
def test_broadcasts(a, b, lanes: int, rng) -> None:
    check(ops.get("sub")(), [TensorType(a), TensorType(b)], (), lanes, rng)


@pytest.mark.parametrize("act", [Clip(None, 0.5), Clip(-0.5), Clip(), Relu6()], ids=str)
@pytest.mark.parametrize("behind", [True, False])
def test_an_addition_stands_on_its_side_of_a_clip(act: Op, behind: bool, rng) -> None:
    build = Builder()
    x = build.input(8, 6, 6)
    y = build("conv", Conv2d(8, 1), x)
    y = (
        build("sum", Add(), build("act", act, y), x)
        if behind
        else build("act", act, build("sum", Add(), y, x))
    )
    graph = build.graph(y)
    model = nbcnn.compile(
        graph, passes=["fuse-activation", "fuse-residual-add", "fuse-activation"], threads=1
    )
    assert len(model.choices) == 1
    array = rng.standard_normal((2, 8, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(model(array), reference.run(graph, array)[y], atol=1e-5)


def test_an_operand_without_a_batch_that_is_no_constant_is_left_to_the_reference(rng) -> None:
    types = {"a": TensorType(IMAGE), "b": TensorType((19, 1, 1))}
    graph = Graph.build("one", types, [Node("y", ops.get("div")(), ("a", "b"), ("y",))], {}, ("y",))
    with pytest.warns(UserWarning, match="no kernel yet for y"):
        model = compile_graph(graph, CompileOptions(threads=1))
    a = rng.standard_normal((2, 19, 5, 6)).astype(np.float32)
    b = rng.uniform(1, 2, (19, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(a, b), a / b)


@lanes
@pytest.mark.parametrize("late", [False, True], ids=["add relu", "silu add"])
@pytest.mark.parametrize("shape", [(19, 5, 6), (7, 3), (33,)], ids=str)
def test_gate_and_shortcut_are_one_step(shape, late, lanes, rng):
    """x * g + x and its activation: one kernel, for images and for plain values."""
    build = Builder()
    x = build.input(*shape)
    gate = build.input(shape[0], *[1] * (len(shape) - 1), name="gate")
    product = build("product", Mul(), x, gate)
    if late:
        last = build("sum", Add(), build("act", Silu(), product), x)
    else:
        last = build("act", Relu(), build("sum", Add(), x, product))
    graph = nbcnn.optimize(build.graph(last), "default")
    (node,) = graph.nodes
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "no kernel yet"
        model = compile_graph(graph, CompileOptions(threads=2), target=target)
    for batch in (1, 3):
        arrays = {
            k: rng.standard_normal(t.extents(batch)).astype(np.float32) for k, t in graph.inputs.items()
        }
        assert reference.excess(node.op, [arrays[v] for v in node.inputs], model(**arrays)) <= 1
