"""Normalisation on a device: rows, planes, groups, neighbours; types of images, padding, large means."""

from __future__ import annotations

import numpy as np
import pytest
from launch_plain import KINDS
from one_operator import check, coarse, site
from precisions import ROUNDOFF
from run_steps import Memory, emit
from strategies import Builder

import nbcnn
from nbcnn import reference
from nbcnn.ir import Op, TensorType
from nbcnn.kernels.cuda import norm
from nbcnn.kernels.cuda.norm import LocalResponse, PlaneNorm, RowNorm
from nbcnn.kernels.layouts import PLAIN, Address, nhwc
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.group_norm import GroupNorm, InstanceNorm
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.lrn import Lrn
from nbcnn.options import CompileOptions

kinds = pytest.mark.parametrize("kind", KINDS)
ROWS = [
    (LayerNorm(), (7, 12)),
    (LayerNorm(), (40,)),
    (LayerNorm(), (31,)),
    (LayerNorm(), (32,)),
    (LayerNorm(1, 1e-6), (11, 2, 3)),
    (LayerNorm((1,), bias=False), (17, 2, 2)),
    (LayerNorm((1, 2, 3)), (3, 4, 5)),
    (RmsNorm(), (3, 5)),
    (RmsNorm(1), (11, 2, 3)),
]
PLANES = [
    (InstanceNorm(), (3, 4, 5)),
    (InstanceNorm(1e-2), (11, 4, 9)),
    (InstanceNorm(), (3, 8)),
    (InstanceNorm(), (2, 3, 4, 2)),
    (GroupNorm(2), (4, 4, 5)),
    (GroupNorm(8), (16, 3, 4)),
    (GroupNorm(1), (5, 3, 3)),
    (GroupNorm(6, 1e-2), (6, 10)),
]
NEIGHBOURS = [
    (Lrn(5, bias=2.0), (11, 2, 3)),
    (Lrn(3, 0.5, 0.6), (5, 2, 2)),
    (Lrn(4, 1.0, 1.0), (3, 2)),
    (Lrn(40, 1.0, 0.5), (9,)),
]
RECORDS = {
    LayerNorm: RowNorm,
    RmsNorm: RowNorm,
    InstanceNorm: PlaneNorm,
    GroupNorm: PlaneNorm,
    Lrn: LocalResponse,
}


@kinds
@pytest.mark.parametrize("op, shape", [*ROWS, *PLANES, *NEIGHBOURS], ids=str)
def test_operators(op: Op, shape, kind: str, rng) -> None:
    build = Builder()
    check(build.graph(build("y", op, build.input(*shape))), kind, rng)


@pytest.mark.parametrize("kind", ["f32", "bf16"])
@pytest.mark.parametrize("act", [Relu(), Silu()], ids=str)
def test_an_activation_behind_planes_is_part_of_them(act: Op, kind: str, rng) -> None:
    build = Builder()
    x = build.input(6, 4, 5)
    graph = nbcnn.optimize(build.graph(build("act", act, build("y", GroupNorm(3), x))), "default")
    assert len(graph.nodes) == 1
    check(graph, kind, rng)


def run(op: Op, array: np.ndarray, kind: str, rng, slots=(None, None)):
    """The excess of a record's result over its bound; nothing but the result's pixels is written."""
    given = emit(len(array), kind)
    memory, type_ = Memory(given), TensorType(("N", *array.shape[1:]))
    weights = [coarse(rng, p.type.extents()) for p in op.params(type_).values()]
    place = site(op, type_, weights=tuple(weights))
    record = RECORDS[type(op)]()
    (layout,) = record.reads(place)
    x, out = (memory.view(layout, type_, slot if layout != PLAIN else None) for slot in slots)
    if layout != PLAIN:
        memory.bytes[x.buffer][:] = 0
    exact = memory.put(x, array)
    steps = record.steps(place, (x,), (out,), given)
    for step in steps:
        for arg in step.args:
            if isinstance(arg, Address) and arg.buffer not in memory.bytes:
                memory.bytes[arg.buffer] = np.full(arg.buffer.nbytes, 0xFF, np.uint8)
    memory.run(steps)
    if layout != PLAIN:
        wide = -(-array.shape[1] // given.target.lanes) * given.target.lanes
        assert not memory.pads(out, wide).any()
        assert (memory.others(out, wide) == 0xFF).all()
    found = memory.get(out, array.shape).astype(np.float32)
    stored = ROUNDOFF[kind] if layout != PLAIN else 0.0
    return reference.excess(op, [exact, *weights], [found], stored=stored)


@kinds
@pytest.mark.parametrize(
    "op", [LayerNorm(1), RmsNorm(1), InstanceNorm(), GroupNorm(11), GroupNorm(1), Lrn(5, 1.0)], ids=str
)
def test_slots_in_wider_pixels(op: Op, kind: str, rng) -> None:
    array = coarse(rng, (2, 11, 3, 2))
    assert run(op, array, kind, rng, ((24, 8), (32, 16))) <= 1


@pytest.mark.parametrize("op", [LayerNorm(1), InstanceNorm(), GroupNorm(2)], ids=str)
def test_small_deviations_from_large_means(op: Op, rng) -> None:
    """Sums of squares would cancel; distances from the mean do not."""
    array = (1000 + rng.standard_normal((1, 6, 8, 9))).astype(np.float32)
    assert run(op, array, "f32", rng) <= 1


@pytest.mark.parametrize("parts", [1, 2, 1024])
def test_planes_in_several_parts(parts: int, rng, monkeypatch) -> None:
    """More pixels than are summed at once, the last of them fewer, by one thread or by several."""
    monkeypatch.setattr(norm, "CHUNKS", parts)
    for op in (InstanceNorm(), GroupNorm(2)):
        array = (3 + rng.standard_normal((1, 4, 9, 15))).astype(np.float32)
        assert run(op, array, "f32", rng) <= 1


def test_refusals() -> None:
    target, options = emit(1).target, CompileOptions()
    image, rows = TensorType(("N", 4, 5, 6)), RowNorm()
    assert rows.refuse(site(LayerNorm(1), image), target, options) is None
    assert rows.refuse(site(LayerNorm((2, 3)), image), target, options) is None
    assert "only axis 1" in str(rows.refuse(site(LayerNorm((1, 3)), image), target, options))
    assert "asked for" in str(rows.refuse(site(LayerNorm(1, statistics=True), image), target, options))
    assert "does not normalise rows" in str(rows.refuse(site(Relu(), image), target, options))
    assert PlaneNorm().refuse(site(InstanceNorm(), image), target, options) is None
    assert "does not normalise planes" in str(PlaneNorm().refuse(site(Relu(), image), target, options))
    assert LocalResponse().refuse(site(Lrn(5, beta=0.3), image), target, options) is None
    assert "no lrn" in str(LocalResponse().refuse(site(Relu(), image), target, options))
    deep = TensorType(("N", 4, 2, 2, 2, 2))
    assert "only signals" in str(LocalResponse().refuse(site(Lrn(5), deep), target, options))


def test_layouts() -> None:
    """Channels lie side by side in pixels; what else is averaged lies plain."""
    image = TensorType(("N", 4, 5, 6))
    assert RowNorm().reads(site(LayerNorm(1), image)) == (nhwc(image),)
    assert RowNorm().reads(site(LayerNorm((2, 3)), image)) == (PLAIN,)
    assert PlaneNorm().reads(site(InstanceNorm(), image)) == (nhwc(image),)
