"""Every operator's samples: shapes, refusals, error bounds, cost, identity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nbcnn import ops, reference
from nbcnn.errors import GraphError, ShapeError
from nbcnn.ir import Graph, Node, Op, Sample, TensorType, Weight

SAMPLES = [(name, sample) for name in ops.OPS for sample in ops.get(name).samples()]
GOOD = [s for _, s in SAMPLES if s.error is None]
BAD = [s for _, s in SAMPLES if s.error is not None]


def label(sample: Sample) -> str:
    return f"{sample.op.name}-{'x'.join(map(str, sample.types[0].shape))}-{sample.note or sample.error or ''}"


@pytest.mark.parametrize("name", ops.OPS)
def test_table(name: str) -> None:
    cls = ops.get(name)
    assert cls.name == name
    assert cls.__doc__
    assert dataclasses.is_dataclass(cls)
    assert any(s.error is None for s in cls.samples())


def test_unknown_op_offers_the_nearest() -> None:
    with pytest.raises(GraphError, match="did you mean 'relu6'"):
        ops.get("relu66")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_infer_agrees_with_reference(sample: Sample, batch: int, operands) -> None:
    types = sample.op.infer(*sample.types)
    bound = sample.op.infer(*(t.bind({"N": batch}) for t in sample.types))
    results = sample.op.reference(*operands(sample.op, sample.types, batch, sample.ranges))
    for type_, number, result in zip(types, bound, results, strict=True):
        assert type_.extents(batch) == result.shape == number.shape
        assert type_.dtype == result.dtype.name
        assert np.isfinite(result).all()


@pytest.mark.parametrize("sample", BAD, ids=label)
def test_bad_samples_are_refused(sample: Sample) -> None:
    with pytest.raises(ShapeError) as caught:
        sample.op.infer(*sample.types)
    assert sample.error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_float32_is_within_the_bound(sample: Sample, scale: float, operands) -> None:
    arrays = operands(sample.op, sample.types, 2, sample.ranges)
    if arrays[0].dtype.kind == "f" and not sample.ranges:
        arrays[0] *= arrays[0].dtype.type(scale)
    assert reference.excess(sample.op, arrays, sample.op.reference(*arrays)) <= 1


@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_bound_carries_the_errors_of_operands(sample: Sample, operands, rng) -> None:
    arrays = operands(sample.op, sample.types, 2, sample.ranges)
    exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    data = len(sample.types)
    off = [
        abs(rng.standard_normal(a.shape)) * 0.05 * (i < data) if a.dtype.kind == "f" else np.zeros_like(a)
        for i, a in enumerate(exact)
    ]
    limits = sample.op.error(exact, off, 2.0**-50)
    for signs in (1.0, -1.0, 0.0):
        moved = [
            a + e * (signs or rng.choice([-1.0, 1.0], a.shape)) if a.dtype.kind == "f" else a
            for a, e in zip(exact, off, strict=True)
        ]
        pairs = zip(sample.op.reference(*moved), sample.op.reference(*exact), limits, strict=True)
        for got, want, limit in pairs:
            assert limit.shape == got.shape
            got, want = got.astype(np.float64), want.astype(np.float64)
            assert (abs(got - want) <= limit * (1 + 1e-9) + 1e-14).all()


@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_one_wrong_element_is_out_of_bounds(sample: Sample, operands) -> None:
    arrays = operands(sample.op, sample.types, 1, sample.ranges)
    results = [np.array(r) for r in sample.op.reference(*arrays)]
    assert reference.excess(sample.op, arrays, results) <= 1
    if results[0].dtype.kind != "f":
        results[0].flat[-1] = not results[0].flat[-1] if results[0].dtype.kind == "b" else 100
        assert reference.excess(sample.op, arrays, results) > 1
        return
    results[0].flat[-1] += 0.01
    assert reference.excess(sample.op, arrays, results) > 1
    results[0].flat[-1] = np.nan
    assert reference.excess(sample.op, arrays, results) == np.inf


@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_work(sample: Sample) -> None:
    op = sample.op
    inputs = [*sample.types, *(p.type for p in op.params(*sample.types).values())]
    outputs = op.infer(*sample.types)
    work = op.work(inputs, outputs)
    assert work.bytes_read == sum(t.nbytes() for t in inputs)
    assert work.bytes_written == sum(t.nbytes() for t in outputs) > 0
    assert op.reduction(inputs) >= 1
    assert (work.macs > 0) == (type(op).macs is not Op.macs)


@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_identity(sample: Sample) -> None:
    op = sample.op
    fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    assert type(op)(**fields) == op
    assert hash(type(op)(**fields)) == hash(op)
    with pytest.raises(dataclasses.FrozenInstanceError):
        op.anything = 1


@pytest.mark.parametrize("sample", GOOD, ids=label)
def test_graph_of_one_node(sample: Sample, operands) -> None:
    op = sample.op
    names = [f"in{i}" for i in range(len(sample.types))]
    arrays = operands(op, sample.types, 2, sample.ranges)
    weights = {k: Weight.of(a) for k, a in zip(op.params(*sample.types), arrays[len(names) :], strict=True)}
    outputs = tuple(f"out{i}" for i in range(len(op.infer(*sample.types))))
    node = Node("node", op, (*names, *weights), outputs)
    graph = Graph.build("one", dict(zip(names, sample.types, strict=True)), [node], weights, outputs)
    results = reference.run(graph, dict(zip(names, arrays, strict=False)))
    for name, want in zip(outputs, op.reference(*arrays), strict=True):
        np.testing.assert_array_equal(results[name], want)


def test_two_spellings_are_one_op() -> None:
    make = ops.get
    assert make("conv2d")(8, 3, padding="valid") == make("conv2d")(8, (3, 3), (1, 1), (0, 0), 1)
    assert make("max_pool")(2) == make("max_pool")((2, 2), 2, (0, 0, 0, 0))
    assert make("reshape")(("N", -1)) == make("reshape")([0, -1])
    assert repr(make("leaky_relu")(1)) == repr(make("leaky_relu")(1.0))


@pytest.mark.parametrize(
    "name, fields, word",
    [
        ("conv2d", {"channels": 0, "kernel": 3}, "channels"),
        ("conv2d", {"channels": 4, "kernel": (3, 0)}, "kernel"),
        ("conv2d", {"channels": 4, "kernel": (3, 3, 3)}, "one number or two"),
        ("conv2d", {"channels": 4, "kernel": 3, "stride": -1}, "stride"),
        ("conv2d", {"channels": 4, "kernel": 3, "padding": "some"}, "same"),
        ("conv2d", {"channels": 4, "kernel": 3, "padding": -1}, "negative"),
        ("conv2d", {"channels": 4, "kernel": 3, "groups": 0}, "groups"),
        ("max_pool", {"kernel": 0}, "kernel"),
        ("max_pool", {"kernel": 2, "dilation": 0}, "dilation"),
        ("avg_pool", {"kernel": 2, "padding": (1, 2, 3, 4, 5)}, "padding"),
        ("avg_pool", {"kernel": (2, 3), "padding": (1, 2, 3)}, "2, 3"),
        ("conv1d", {"channels": 4, "kernel": (3, 3)}, "one number"),
        ("conv3d", {"channels": 4, "kernel": 3, "padding": (1, 2)}, "1, 3 or 6 numbers"),
        ("conv_transpose2d", {"channels": 4, "kernel": 3, "padding": "full"}, "same_lower"),
        ("conv_transpose2d", {"channels": 4, "kernel": 3, "padding": 1, "output_shape": 9}, "output_shape"),
        ("conv_transpose2d", {"channels": 4, "kernel": 3, "output_padding": 1}, "output_padding"),
        ("pad", {"padding": 1, "value": float("nan")}, "value"),
        ("pad", {"padding": (1, 2, 3)}, "padding"),
        ("transpose", {"perm": (0, 1, 1)}, "every axis once"),
        ("dense", {"channels": 0}, "channels"),
        ("batch_norm", {"epsilon": -1.0}, "epsilon"),
        ("batch_norm", {"epsilon": float("nan")}, "epsilon"),
        ("dropout", {"rate": 1.0}, "rate"),
        ("flatten", {"axis": 0}, "batch"),
        ("reshape", {"shape": (0, -1, -1)}, "at most one -1"),
        ("reshape", {"shape": (0, "N")}, "N in front"),
        ("leaky_relu", {"alpha": float("nan")}, "alpha"),
        ("elu", {"alpha": float("inf")}, "alpha"),
        ("hard_sigmoid", {"beta": float("nan")}, "beta"),
        ("gelu", {"approximate": "erf"}, "approximate"),
    ],
)
def test_bad_attributes_are_refused(name: str, fields: dict, word: str) -> None:
    with pytest.raises(ShapeError, match=word):
        ops.get(name)(**fields)


def test_huge_windows_are_judged_without_listing_their_points() -> None:
    image = TensorType(("N", 3, 28, 28))
    huge = ops.get("max_pool")(200_000, 1, 199_999)
    assert huge.infer(image)[0].shape == ("N", 3, 200_027, 200_027)
    with pytest.raises(ShapeError, match="too many"):
        ops.get("max_pool")(1 << 30, 1, (1 << 30) - 1).infer(image)


def test_bound_sees_one_lost_term_of_a_long_sum(rng) -> None:
    dense = ops.get("dense")(1, bias=False)
    x = rng.choice([-1.0, 1.0], (1, 4096)).astype(np.float32)
    w = rng.choice([-1.0, 1.0], (1, 4096)).astype(np.float32)
    (y,) = dense.reference(x, w)
    assert reference.excess(dense, (x, w), y) == 0
    assert reference.excess(dense, (x, w), y - x[:, :1] * w[:, :1]) > 1


def test_symbolic_extents_other_than_the_batch() -> None:
    x = TensorType(("N", 3, "H", "W"))
    assert ops.get("relu")().infer(x) == (x,)
    assert ops.get("add")().infer(x, x) == (x,)
    with pytest.raises(ShapeError, match="'H'"):
        ops.get("conv2d")(4, 3).infer(x)
