"""Rows of moves, indices, reductions, products, resizes and quantised operators: forms of old opsets,
constants that become attributes, the batch among extents. What is read is judged by ONNX's own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nbcnn import reference
from nbcnn.errors import ModelFileError
from nbcnn.frontends.onnx import importer
from nbcnn.ir import Graph

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")
Evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator

F32, I64 = 1, 7
END = 2**63 - 1


def model(nodes: list[Any], shape: tuple, opset: int, constants: dict[str, Any], dtype: int = F32) -> Any:
    """Nodes from the input ``x`` to ``y``."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    outputs = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(nodes, "moves", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(kind: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def load(nodes: list[Any], shape: tuple, opset: int = 17, **constants: Any) -> Graph:
    """The graph, after its answer was found to be that of ONNX's reference; ``x`` is [3, ...] of normals."""
    made = model(nodes, shape, opset, constants)
    graph = importer.load(made)
    x = np.random.default_rng(0).standard_normal([3 if isinstance(d, str) else d for d in shape])
    x = x.astype(np.float32)
    (want,) = Evaluator(made).run(None, {"x": x})
    got = reference.run(graph, {"x": x})["y"]
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return graph


def ops(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


IMAGE = ("N", 4, 5, 6)


def i64(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_slices() -> None:
    old = load([node("Slice", "x", starts=[1, 0], ends=[3, -1], axes=[1, 3])], IMAGE, 9)
    new = load([node("Slice", "x", "s", "e", "a")], IMAGE, s=i64(1, 0), e=i64(3, -1), a=i64(1, 3))
    assert ops(old) == ops(new) == ["slice"]
    assert old.nodes[0].op == new.nodes[0].op
    back = load([node("Slice", "x", "s", "e", "a", "t")], IMAGE, s=i64(-1), e=i64(-END), a=i64(2), t=i64(-2))
    assert back.nodes[0].op.steps == (-2,)


def test_a_slice_up_to_the_batch_takes_all_of_it() -> None:
    nodes = [
        node("Shape", "x", outputs=("shape",), start=0, end=1),
        node("Concat", "shape", "two", outputs=("ends",), axis=0),
        node("Slice", "x", "starts", "ends"),
    ]
    graph = load(nodes, IMAGE, two=i64(2), starts=i64(0, 0))
    assert ops(graph) == ["slice"]
    assert graph.type("y").shape == ("N", 2, 5, 6)


@pytest.mark.parametrize(
    "indices, axis, want",
    [
        (np.array(2), 1, ["slice", "squeeze"]),
        (np.array(-1), 3, ["slice", "squeeze"]),
        (i64(1, 2, 3), 1, ["slice"]),
        (i64(-1, -3, -5), 2, ["slice"]),
        (i64(3, 2, 1), 2, ["slice"]),
        (i64(0), 2, ["slice"]),
        (i64(0, 0), 2, ["gather"]),
        (i64(0, 2, 3), 1, ["gather"]),
        (np.array([[0, 1], [2, 3]]), 1, ["gather"]),
    ],
)
def test_gather_of_fixed_indices(indices: np.ndarray, axis: int, want: list[str]) -> None:
    assert ops(load([node("Gather", "x", "i", axis=axis)], IMAGE, i=indices)) == want


def test_an_embedding() -> None:
    table = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    made = model([node("Gather", "table", "x")], ("N", 3), 17, {"table": table}, I64)
    graph = importer.load(made)
    words = np.array([[0, 8, -1], [3, 3, 2]])
    np.testing.assert_array_equal(reference.run(graph, {"x": words})["y"], table[words])
    assert graph.weight("table").trainable


@pytest.mark.parametrize("opset", [11, 13])
def test_axes_of_one_element(opset: int) -> None:
    def axes(*numbers: int) -> dict[str, Any]:
        return {"axes": numbers} if opset < 13 else {}

    own = ("axes",) if opset >= 13 else ()
    nodes = [
        node("ReduceMax", "x", outputs=("pooled",), axes=[2, 3]),
        node("Squeeze", "pooled", *own, outputs=("rows",), **axes(2, 3)),
        node("Unsqueeze", "rows", *own, **axes(2, 3)),
    ]
    assert ops(load(nodes, IMAGE, opset, axes=i64(2, 3))) == ["reduce_max", "squeeze", "unsqueeze"]


def test_expand_to_the_batch() -> None:
    nodes = [node("Shape", "x", outputs=("shape",)), node("Expand", "row", "shape")]
    made = model(nodes, ("N", 4), 17, {"row": np.ones((1, 4), np.float32)})
    with pytest.raises(ModelFileError, match="a constant repeated for each of the batch"):
        importer.load(made)
    nodes = [
        node("Shape", "x", outputs=("shape",), start=0, end=1),
        node("Concat", "shape", "rest", outputs=("wide",), axis=0),
        node("Expand", "x", "wide"),
    ]
    graph = load(nodes, ("N", 4, 1), rest=i64(4, 5))
    assert graph.type("y").shape == ("N", 4, 5)


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_reductions(kind: str, opset: int) -> None:
    operand = opset >= (13 if kind == "Sum" else 18)
    given = {} if operand else {"axes": [-1, 1]}
    inputs = ("x", "axes") if operand else ("x",)
    graph = load([node(f"Reduce{kind}", *inputs, keepdims=0, **given)], IMAGE, opset, axes=i64(-1, 1))
    assert graph.nodes[0].op.along(graph.type("x")) == (1, 3)


def test_reductions_along_nothing() -> None:
    assert ops(load([node("ReduceSum", "x", noop_with_empty_axes=1)], IMAGE)) == []
    graph = load([node("ReduceSumSquare", "x", noop_with_empty_axes=1)], IMAGE, 18)
    assert ops(graph) == ["reduce_sum_square"]
    pooled = load([node("ReduceMean", "x", axes=[3, 2])], IMAGE)
    assert ops(pooled) == ["global_avg_pool"]


W = np.random.default_rng(2).standard_normal((6, 7)).astype(np.float32)
COLUMN, MATRIX = np.ones((3, 1), np.float32), np.ones((3, 7), np.float32)


@pytest.mark.parametrize(
    "attributes, c, want",
    [
        ({}, None, ["dense"]),
        ({}, np.ones(7, np.float32), ["dense"]),
        ({"alpha": 0.5, "beta": 2.0}, np.ones((1, 7), np.float32), ["dense"]),
        ({"beta": 2.0}, np.float32(3), ["dense"]),
        ({"alpha": 0.5, "beta": 3.0}, np.full((1, 1), 2, np.float32), ["dense"]),
    ],
)
def test_gemm_with_a_weight(attributes: dict, c: Any, want: list[str]) -> None:
    constants = {"w": W} if c is None else {"w": W, "c": np.asarray(c)}
    graph = load([node("Gemm", "x", *constants, **attributes)], ("N", 6), **constants)
    assert ops(graph) == want
    turned = load([node("Gemm", "x", *constants, transB=1, **attributes)], ("N", 6), **constants | {"w": W.T})
    assert ops(turned) == want


def test_gemm_keeps_the_weight_that_fits() -> None:
    graph = load([node("Gemm", "x", "w", "b", transB=1)], ("N", 6), w=W.T, b=np.ones(7, np.float32))
    assert graph.nodes[0].weights == ("w", "b")
    assert graph.weight("w").trainable


@pytest.mark.parametrize("c", [COLUMN, MATRIX])
def test_gemm_of_a_fixed_batch(c: np.ndarray) -> None:
    graph = load([node("Gemm", "x", "w", "c", beta=2.0)], (3, 6), w=W, c=c)
    assert ops(graph) == ["dense", "add"]
    graph = load([node("Gemm", "x", "w", "c", transA=1)], (6, 3), w=W, c=c)
    assert ops(graph) == ["transpose", "dense", "add"]


def test_products() -> None:
    assert ops(load([node("MatMul", "x", "w")], ("N", 6), w=W)) == ["dense"]
    assert ops(load([node("MatMul", "x", "w")], ("N", 2, 6), w=W)) == ["matmul"]
    assert ops(load([node("Gemm", "x", "x", "one", transA=1)], (5, 4), one=np.float32(1))) == ["gemm"]
    assert ops(load([node("Einsum", "x", "x", equation="nij,nkj->nik")], ("N", 3, 4))) == ["einsum"]


def test_pads() -> None:
    plane = load([node("Pad", "x", "p")], IMAGE, p=i64(0, 0, 1, 0, 0, 0, 2, 3))
    assert plane.nodes[0].op.padding == (1, 0, 2, 3)
    old = load([node("Pad", "x", pads=[0, 1, 0, 0, 0, 2, 0, 0], mode="edge")], IMAGE, 10)
    assert (old.nodes[0].op.axes, old.nodes[0].op.padding, old.nodes[0].op.mode) == ((1,), (1, 2), "edge")
    named = load([node("Pad", "x", "p", "v", "a")], IMAGE, 18, p=i64(1, 2), v=np.float32(7), a=i64(-1))
    assert (named.nodes[0].op.padding, named.nodes[0].op.value) == ((0, 1, 0, 2), 7.0)
    assert ops(load([node("Pad", "x", "p")], IMAGE, p=np.zeros(8, np.int64))) == []


def test_order() -> None:
    values = [node("TopK", "x", "k", outputs=("y", "places"), axis=1, sorted=0)]
    assert ops(load(values, IMAGE, k=i64(2))) == ["top_k"]
    assert ops(load([node("ArgMin", "x", axis=2, select_last_index=1)], IMAGE)) == ["arg_min"]
    assert ops(load([node("CumSum", "x", "a", reverse=1)], IMAGE, a=np.array(1))) == ["cum_sum"]


TWICE = np.array([1, 1, 2, 2], np.float32)


@pytest.mark.parametrize(
    "opset, kind, inputs, attributes",
    [
        (7, "Upsample", (), {"scales": [1.0, 1.0, 2.0, 2.0]}),
        (9, "Upsample", ("s",), {"mode": "linear"}),
        (10, "Resize", ("s",), {}),
        (11, "Resize", ("roi", "s"), {"mode": "linear"}),
        (13, "Resize", ("", "s"), {"mode": "cubic", "coordinate_transformation_mode": "align_corners"}),
        (13, "Resize", ("", "", "z"), {"nearest_mode": "floor"}),
        (18, "Resize", ("", "t"), {"axes": [2, 3], "mode": "linear", "antialias": 1}),
    ],
)
def test_resizes(opset: int, kind: str, inputs: tuple, attributes: dict) -> None:
    constants = {"s": TWICE, "t": TWICE[2:], "z": i64(3, 4, 7, 3), "roi": np.zeros(0, np.float32)}
    used = {k: v for k, v in constants.items() if k in inputs}
    made = [node(kind, "x", *inputs, **attributes)]
    if opset < 11:  # ONNX's reference does not know these; PyTorch does
        graph = importer.load(model(made, IMAGE, opset, used))
        assert graph.nodes[0].op.coordinates == "asymmetric"
        assert graph.nodes[0].op.rounding == "floor"
    else:
        graph = load(made, (3, *IMAGE[1:]), opset, **used)
    (op,) = (n.op for n in graph.nodes)
    assert op.axes == (-2, -1)
    assert op.mode == attributes.get("mode", "nearest")


def test_a_resize_to_the_shape_of_another() -> None:
    nodes = [
        node("Shape", "x", outputs=("shape",), start=0, end=2),
        node("Concat", "shape", "plane", outputs=("sizes",), axis=0),
        node("Resize", "x", "", "", "sizes", mode="linear"),
    ]
    graph = importer.load(model(nodes, IMAGE, 17, {"plane": i64(10, 12)}))
    assert graph.type("y").shape == ("N", 4, 10, 12)
    assert graph.nodes[0].op.sizes == (10, 12)
    nodes[2] = node("Resize", "x", "", "", "shape4", mode="linear")
    nodes[0] = node("Shape", "x", outputs=("shape4",))
    assert ops(importer.load(model([nodes[0], nodes[2]], IMAGE, 17, {}))) == []


def test_quantised_and_back() -> None:
    nodes = [
        node("QuantizeLinear", "x", "s", outputs=("q",)),
        node("DequantizeLinear", "q", "s"),
    ]
    assert ops(load(nodes, IMAGE, 21, s=np.float32(0.1))) == ["quantize_linear", "dequantize_linear"]
    nodes = [
        node("QuantizeLinear", "x", "s", "z", outputs=("q",), axis=1),
        node("ConvInteger", "q", "w", "z0", pads=[1, 1, 1, 1], outputs=("sums",)),
        node("DequantizeLinear", "sums", "s0"),
    ]
    constants = {
        "s": np.full(4, 0.1, np.float32),
        "s0": np.float32(0.1),
        "z": np.zeros(4, np.uint8),
        "z0": np.uint8(0),
        "w": np.random.default_rng(0).integers(0, 9, (3, 4, 3, 3)).astype(np.uint8),
    }
    graph = load(nodes, IMAGE, 21, **constants)
    assert ops(graph) == ["quantize_linear", "conv_integer", "dequantize_linear"]


@pytest.mark.parametrize(
    "made, constants, why",
    [
        (node("Slice", "x", "s", "s"), {"s": i64(1)}, "mix the batch"),
        (node("Gather", "x", "i"), {"i": i64(0, 1)}, "mix the batch"),
        (node("Gather", "x", "i", axis=7), {"i": i64(0)}, "axis 7"),
        (node("Resize", "x", "", "s"), {"s": TWICE[::-1].copy()}, "mix the batch"),
        (node("Resize", "x", "", "s"), {"s": TWICE[:2]}, "not 4 scales or sizes"),
        (node("Resize", "x", "", "s", mode="area"), {"s": TWICE}, "mode 'area'"),
        (node("Pad", "x", "p"), {"p": i64(1, 1)}, "2 pads for 4 axes"),
        (node("ReduceSum", "x", "a"), {"a": i64(0)}, "mix the batch"),
        (node("TopK", "x", "k", axis=1), {"k": i64(9)}, "9 elements"),
        (node("Transpose", "x"), {}, "first axis"),
        (node("Tile", "x", "r"), {"r": i64(2, 1, 1, 1)}, "mix the batch"),
        (node("NonZero", "x"), {}, "computed at run time"),
        (node("Range", "f", "f", "f"), {"f": np.float32(np.inf)}, "from inf"),
        (node("Split", "x", axis=1, num_outputs=2**40), {}, "num_outputs"),
        (node("Unsqueeze", "x", "a"), {"a": np.arange(1, 70)}, "73 axes"),
        (node("Reshape", "x", "s"), {"s": np.array([0, *[1] * 90, -1])}, "92 axes"),
        (node("Pad", "x", "p", "", "a"), {"p": i64(1, 1, 1, 1), "a": i64(2, -2)}, "twice"),
        (node("Range", "z", "z", "z"), {"z": np.array(0)}, "by 0"),
        (
            node("Range", "z", "m", "o"),
            {"z": np.array(0), "m": np.array(2**40), "o": np.array(1)},
            "elements",
        ),
    ],
)
def test_what_cannot_be_read(made: Any, constants: dict, why: str) -> None:
    file = model([made], IMAGE, 18, constants)
    with pytest.raises(ModelFileError, match=why):
        importer.load(file)
