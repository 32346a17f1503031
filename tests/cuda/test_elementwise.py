"""Element-wise kernels on a device, in every type of images: broadcasts, padding, slots, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from launch_plain import KINDS, device
from one_operator import check, coarse, one, site
from precisions import ROUNDOFF
from run_steps import Memory, emit
from strategies import Builder

import nbcnn
from nbcnn import ops, reference
from nbcnn.errors import NbcnnError
from nbcnn.ir import TensorType
from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.kernels.cuda.elementwise import Affine, Binary, Rows, Unary
from nbcnn.kernels.layouts import PLAIN, nhwc
from nbcnn.lower.device_build import compile_graph
from nbcnn.ops.activation import Gelu, Relu, Silu
from nbcnn.ops.arithmetic import Add, Div, Mul
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.elementary import Log
from nbcnn.options import CompileOptions

IMAGE = ("N", 11, 2, 3)
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize(
    "a, b",
    [
        (IMAGE, (1, 11, 1, 1)),
        ((11, 1, 1), IMAGE),
        (IMAGE, (2, 3)),
        (IMAGE, (1, 11, 2, 3)),
        (IMAGE, (1,)),
        (IMAGE, ("N", 1, 2, 3)),
        (("N", 1, 2, 3), IMAGE),
        (("N", 1, 2, 3), ("N", 11, 1, 1)),
        (("N", 1, 2, 3), (11, 1, 1)),
        (("N", 1, 2, 3), ("N", 1, 2, 3)),
        (("N", 16, 2, 3), ("N", 16, 2, 3)),
        (("N", 16, 2, 3), ("N", 16, 1, 1)),
        (("N", 11), (11,)),
        (("N", 11), ()),
        (("N",), ("N",)),
        (("N", 7, 9), (7, 1)),
        (("N", 7, 9), ("N", 1, 9)),
        (("N", 7, 1), ("N", 1, 1)),
        (("N", 16, 2, 3, 2), ("N", 16, 1, 3, 1)),
        (("N", 2, 3, 2, 1, 3), ("N", 2, 3, 2, 1, 3)),
    ],
)
def test_broadcasts(a, b, kind: str, rng) -> None:
    check(one(ops.get("sub")(), a, b, rng=rng), kind, rng, 2)


@pytest.mark.parametrize("kind", ["f32", "bf16"])
@pytest.mark.parametrize("name", BINARIES)
def test_operators(name: str, kind: str, rng) -> None:
    check(one(ops.get(name)(), IMAGE, ("N", 11, 1, 1), rng=rng), kind, rng, 2)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_no_number_wins(name: str, rng) -> None:
    graph = one(ops.get(name)(), ("N", 9), ("N", 9), rng=rng)
    model = compile_graph(graph, CompileOptions(), launcher=device())
    x, y = coarse(rng, (2, 9)), coarse(rng, (2, 9))
    x[0, 3], y[1, 8] = np.nan, np.nan
    np.testing.assert_array_equal(model(x, y), getattr(np, name)(x, y))


@kinds
@pytest.mark.parametrize("late", [False, True], ids=["add relu", "silu add"])
@pytest.mark.parametrize("shape", [(11, 2, 3), (7, 3), (9,)], ids=str)
def test_gate_and_shortcut_are_one_step(shape, late: bool, kind: str, rng) -> None:
    """x * g + x and its activation: one kernel, for images and for plain values, whichever comes first."""
    build = Builder()
    x = build.input(*shape)
    gate = build.input(shape[0], *[1] * (len(shape) - 1), name="gate")
    product = build("product", Mul(), *((gate, x) if late else (x, gate)))
    if late:
        last = build("sum", Add(), build("act", Silu(), product), x)
    else:
        last = build("act", Relu(), build("sum", Add(), x, product))
    graph = nbcnn.optimize(build.graph(last), "default")
    assert len(graph.nodes) == 1
    check(graph, kind, rng)


@kinds
@pytest.mark.parametrize("channels, pitch, first", [(11, 32, 8), (16, 16, 0), (3, 24, 16)])
def test_unary_in_slots_writes_zeros_behind_the_channels(channels, pitch, first, kind: str, rng) -> None:
    given = emit(2, kind)
    lanes, memory = given.target.lanes, Memory(given)
    type_ = TensorType(("N", channels, 2, 3))
    layout, op = nhwc(type_), Log()
    x, out = memory.view(layout, type_), memory.view(layout, type_, (pitch, first))
    memory.bytes[x.buffer][:] = 0  # the logarithm of what pads is no number
    exact = memory.put(x, rng.uniform(0.1, 3, type_.extents(2)).astype(np.float32))
    memory.run(Unary().steps(site(op, type_), (x,), (out,), given))
    found = memory.get(out, type_.extents(2))
    assert reference.excess(op, [exact], [found.astype(np.float32)], stored=ROUNDOFF[kind]) <= 1
    wide = -(-channels // lanes) * lanes
    assert not memory.pads(out, wide).any()
    assert (memory.others(out, wide) == 0xFF).all()


@kinds
def test_binary_in_slots_writes_zeros_behind_the_channels(kind: str, rng) -> None:
    given = emit(2, kind)
    memory, type_, op = Memory(given), TensorType(("N", 11, 2, 3)), Div()
    layout = nhwc(type_)
    x, y = memory.view(layout, type_, (24, 8)), memory.view(layout, type_)
    out = memory.view(layout, type_, (32, 16))
    for view in (x, y):
        memory.bytes[view.buffer][:] = 0
    exact = [memory.put(v, coarse(rng, type_.extents(2))) for v in (x, y)]
    memory.run(Binary().steps(site(op, type_, type_), (x, y), (out,), given))
    found = memory.get(out, type_.extents(2)).astype(np.float32)
    assert reference.excess(op, exact, [found], stored=ROUNDOFF[kind]) <= 1
    assert not memory.pads(out, 16 if kind != "f32" else 12).any()
    assert (memory.others(out, 16 if kind != "f32" else 12) == 0xFF).all()


@kinds
@pytest.mark.parametrize("shape", [(11, 2, 3), (8, 3), (5,), (3, 2, 2, 2)], ids=str)
def test_batch_norm_left_over(shape, kind: str, rng) -> None:
    build = Builder()
    x = build.input(*shape)
    check(build.graph(build("y", BatchNorm(), x)), kind, rng)


def test_plain_values_and_flattened_images(rng) -> None:
    """Any order of rows will do; a row of an odd length is shared by threads that have less to do."""
    for kind in KINDS:
        given = emit(2, kind)
        for type_ in (TensorType(("N", 7, 3, 1, 1, 1)), TensorType(("N", 5))):
            memory = Memory(given)
            x, out = memory.view(PLAIN, type_), memory.view(PLAIN, type_)
            exact = memory.put(x, coarse(rng, type_.extents(2)))
            memory.run(Unary().steps(site(Gelu(), type_), (x,), (out,), given))
            found = memory.get(out, type_.extents(2)).astype(np.float32)
            assert reference.excess(Gelu(), [exact], [found]) <= 1


def test_refusals() -> None:
    target, options = emit(1).target, CompileOptions()
    image, deep = TensorType(IMAGE), TensorType(("N", 2, 3, 1, 2, 2))
    assert Unary().refuse(site(Relu(), image), target, options) is None
    assert "no activation" in str(Unary().refuse(site(Add(), image, image), target, options))
    assert Binary().refuse(site(Add(), image, image), target, options) is None
    assert "begins with relu" in str(Binary().refuse(site(Relu(), image), target, options))
    wide = TensorType(("N", 2, 1, 1, 2, 1))
    assert "more than 5 axes" in str(Binary().refuse(site(Add(), deep, wide), target, options))
    assert "no batch_norm" in str(Affine().refuse(site(Relu(), image), target, options))


def test_values_that_are_too_large_for_one_launch() -> None:
    assert Rows(2**20, 2**12, 2**12).units == 2**30
    with pytest.raises(NbcnnError, match="too many for one launch"):
        _ = Rows(2**20, 2**13, 2**13).units
