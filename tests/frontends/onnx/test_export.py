"""ONNX export: what ONNX Runtime computes of it is judged by each operator's own error bound."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from zoo import models

import nbcnn
from nbcnn import ops, reference
from nbcnn.errors import GraphError, ModelFileError, NbcnnError
from nbcnn.frontends.onnx import exporter
from nbcnn.frontends.onnx.table import EXPORT
from nbcnn.ir import Graph, Node, Sample, TensorType, Weight

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

GOOD = [s for name in ops.OPS for s in ops.get(name).samples() if s.error is None]
NEWER = [s for s in GOOD if s.op.name.startswith("bitwise") or s.note == "the sign follows"]
ZOO = models("mobilenet_v1", "mobilenet_v2", "resnet18", "squeezenet1_1")


def label(sample: Sample) -> str:
    return f"{sample.op.name}-{'x'.join(map(str, sample.types[0].shape))}-{sample.note}"


def infer(path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The file's outputs in ONNX Runtime, operator by operator as it was written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def one_node(op, types, arrays, outputs: tuple[str, ...] = ()) -> Graph:
    names = [f"in{i}" for i in range(len(types))]
    weights = {k: Weight.of(a) for k, a in zip(op.params(*types), arrays[len(names) :], strict=True)}
    outputs = outputs or tuple(f"out{i}" for i in range(len(op.infer(*types))))
    node = Node("node", op, (*names, *weights), outputs)
    return Graph.build("one", dict(zip(names, types, strict=True)), [node], weights, outputs)


def export(graph: Graph, path) -> onnx.ModelProto:
    """The model that was written, after ONNX's own strict shape inference."""
    nbcnn.to_onnx(graph, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_every_operator_has_a_row() -> None:
    assert set(EXPORT) | {"fused"} == set(ops.OPS)


@pytest.mark.parametrize("sample", NEWER, ids=label)
def test_what_came_after_the_opset_is_refused(sample: Sample, operands, tmp_path) -> None:
    graph = one_node(sample.op, sample.types, operands(sample.op, sample.types, 1, sample.ranges))
    with pytest.raises(GraphError, match=r"ONNX has Bit.* from opset \d\d on, not in opset 17"):
        nbcnn.to_onnx(graph, tmp_path / "one.onnx")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sample", [s for s in GOOD if s not in NEWER], ids=label)
def test_operator(sample: Sample, batch: int, operands, tmp_path) -> None:
    arrays = operands(sample.op, sample.types, batch, sample.ranges)
    graph = one_node(sample.op, sample.types, arrays)
    export(graph, tmp_path / "one.onnx")
    results = infer(tmp_path / "one.onnx", dict(zip(graph.inputs, arrays, strict=False)))
    assert list(results) == list(graph.outputs)
    assert reference.excess(sample.op, arrays, list(results.values())) <= 1


@pytest.mark.parametrize("passes", ["none", "default"])
@pytest.mark.parametrize("name", ZOO)
def test_model(name: str, passes: str, rng, tmp_path) -> None:
    """Every node, from the very operands that ONNX Runtime gave it."""
    graph = nbcnn.optimize(nbcnn.load(name), passes)
    inputs = {k: rng.standard_normal(t.extents(1)).astype(t.dtype) for k, t in graph.inputs.items()}
    values = [v for node in graph.nodes for v in node.outputs]
    every = Graph.build(graph.name, graph.inputs, graph.nodes, graph.weights, values, graph.meta)
    export(every, tmp_path / "model.onnx")
    found = inputs | infer(tmp_path / "model.onnx", inputs)
    for node in graph.nodes:
        operands = [graph.weight(v).array if graph.is_weight(v) else found[v] for v in node.inputs]
        assert reference.excess(node.op, operands, [found[v] for v in node.outputs]) <= 1, node.name


def test_the_batch_is_open_and_names_are_kept(tmp_path) -> None:
    graph = nbcnn.load("lenet5")
    model = export(graph, tmp_path / "lenet5.onnx")
    (image,), (scores,) = model.graph.input, model.graph.output
    assert (image.name, image.type.tensor_type.shape.dim[0].dim_param) == ("image", "N")
    assert scores.name == "fc3"
    assert {t.name for t in model.graph.initializer} == set(graph.weights)
    assert [n.name for n in model.graph.node] == [n.name for n in graph.nodes]
    assert model.opset_import[0].version == 17


def test_bounds_are_scalars(tmp_path) -> None:
    x = TensorType(("N", 2))
    relu6 = Node("relu6", ops.get("relu6")(), ("x",), ("relu6",))
    model = export(Graph.build("g", {"x": x}, [relu6], {}, ["relu6"]), tmp_path / "g.onnx")
    assert model.graph.node[0].op_type == "Clip"
    assert [list(t.dims) for t in model.graph.initializer] == [[], []]


def test_outputs_that_are_inputs_weights_or_shared(tmp_path) -> None:
    x = TensorType(("N", 2))
    nodes = [
        Node("relu", ops.get("relu")(), ("x",), ("relu",)),
        Node("drop", ops.get("dropout")(), ("relu",), ("drop",)),
        Node("drop2", ops.get("dropout")(), ("x",), ("drop2",)),
    ]
    outputs = {"same": "x", "x": "x", "a": "relu", "b": "relu", "drop": "drop", "relu": "drop2", "w": "w"}
    graph = Graph.build("odd", {"x": x}, nodes, {"w": Weight.of(np.ones(3, np.float32))}, outputs)
    export(graph, tmp_path / "odd.onnx")
    array = np.array([[-1.0, 2.0]], np.float32)
    results = infer(tmp_path / "odd.onnx", {"x": array})
    assert list(results) == list(outputs)
    for name, want in reference.run(graph, array).items():
        np.testing.assert_array_equal(results[name], want)


def test_an_output_cannot_bear_the_name_of_an_input(tmp_path) -> None:
    relu = Node("relu", ops.get("relu")(), ("x",), ("relu",))
    graph = Graph.build("odd", {"x": TensorType(("N", 2))}, [relu], {}, {"x": "relu"})
    with pytest.raises(GraphError, match="bears the name of an input"):
        nbcnn.to_onnx(graph, tmp_path / "odd.onnx")


def test_a_mask_is_applied_and_a_shared_weight_written_once(operands, tmp_path) -> None:
    x, op = TensorType(("N", 4)), ops.get("dense")(4, bias=False)
    _, array = operands(op, (x,))
    weight = Weight.of(array).masked(np.eye(4, dtype=bool))
    nodes = [Node("a", op, ("x", "w"), ("a",)), Node("b", op, ("a", "w"), ("b",))]
    model = export(Graph.build("g", {"x": x}, nodes, {"w": weight}, ["b"]), tmp_path / "g.onnx")
    (written,) = model.graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(written), np.diag(np.diag(array)))


def test_inner_values_that_collide_with_outer_names(tmp_path, operands) -> None:
    sample = next(s for s in ops.get("fused").samples() if s.error is None)
    arrays = operands(sample.op, sample.types)
    weights = dict(zip(("p", "q"), map(Weight.of, arrays[1:]), strict=True))
    nodes = [
        Node("one", sample.op, ("x", "p", "q"), ("one",)),
        Node("two", sample.op, ("x", "p", "q"), ("conv",)),
    ]
    graph = Graph.build("twice", {"x": sample.types[0]}, nodes, weights, ["one", "conv"])
    export(graph, tmp_path / "twice.onnx")
    results = infer(tmp_path / "twice.onnx", {"x": arrays[0]})
    np.testing.assert_array_equal(results["one"], results["conv"])
    assert reference.excess(sample.op, arrays, results["one"]) <= 1


def test_a_model_too_large_for_one_file(monkeypatch, tmp_path, rng) -> None:
    monkeypatch.setattr(exporter, "INLINE_BYTES", 1000)
    graph = nbcnn.load("lenet5")
    nbcnn.to_onnx(graph, tmp_path / "big.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    x = rng.standard_normal((2, 1, 28, 28)).astype(np.float32)
    want = reference.run(graph, x)
    np.testing.assert_allclose(infer(tmp_path / "big.onnx", {"image": x})["fc3"], want["fc3"], atol=1e-4)


def test_nothing_is_left_where_the_file_cannot_be_written(tmp_path) -> None:
    graph = nbcnn.load("lenet5")
    for path in (tmp_path, tmp_path / "missing" / "m.onnx"):
        with pytest.raises(ModelFileError, match=r"cannot be written|is a folder"):
            nbcnn.to_onnx(graph, path)
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_extra_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(NbcnnError, match=r"nbcnn\[onnx\]") as caught:
        nbcnn.to_onnx(nbcnn.load("lenet5"), tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
