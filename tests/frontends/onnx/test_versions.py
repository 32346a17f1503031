"""Other opsets: what is written runs in ONNX Runtime with the same results, and is read back the same."""

from __future__ import annotations

import numpy as np
import pytest

import nbcnn
from nbcnn import ops, reference
from nbcnn.errors import GraphError, OptionError
from nbcnn.ir import Graph, Node, TensorType

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def chain(*steps: tuple[str, dict]) -> Graph:
    """Operators one after the other on [N, 4, 6, 5]; the parts of a split go to one more each."""
    nodes, value = [], "x"
    for number, (word, attributes) in enumerate(steps):
        nodes.append(Node(f"v{number}", ops.get(word)(**attributes), (value,), (f"v{number}",)))
        value = f"v{number}"
    return Graph.build("chain", {"x": TensorType(("N", 4, 6, 5))}, nodes, {}, [value])


GRAPHS = {
    "softmax over channels": lambda: chain(("softmax", {"axis": 1}), ("relu", {})),
    "softmax over columns": lambda: chain(("log_softmax", {"axis": 3})),
    "hard_swish": lambda: chain(("hard_swish", {}), ("leaky_relu", {"alpha": 0.2})),
    "sum": lambda: chain(("reduce_sum", {"axes": (2, 3), "keepdims": False}), ("sigmoid", {})),
    "unit axes": lambda: chain(
        ("global_avg_pool", {}), ("squeeze", {"axes": (2, 3)}), ("unsqueeze", {"axes": (2,)})
    ),
    "lenet5": lambda: nbcnn.load("lenet5"),
    "lenet5 fused": lambda: nbcnn.optimize(nbcnn.load("lenet5")),
}


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18, 21])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_in_every_opset(name: str, opset: int, tmp_path, rng) -> None:
    graph = GRAPHS[name]()
    nbcnn.to_onnx(graph, tmp_path / "m.onnx", opset=opset)
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
    ((key, type_),) = graph.inputs.items()
    inputs = {key: rng.standard_normal(type_.extents(2)).astype(np.float32)}
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (result,) = graph.outputs
    want = reference.run(graph, inputs)[result]
    np.testing.assert_allclose(session.run([result], inputs)[0], want, atol=1e-5)
    again = nbcnn.load(tmp_path / "m.onnx")
    np.testing.assert_allclose(reference.run(again, inputs)[result], want, atol=1e-5)


def test_what_an_opset_lacks(tmp_path) -> None:
    for opset in (10, 99):
        with pytest.raises(OptionError, match="opset must be from 11"):
            nbcnn.to_onnx(nbcnn.load("lenet5"), tmp_path / "m.onnx", opset=opset)
    x = TensorType(("N", 4, 6, 5), "int32")
    late = Node("y", ops.get("bitwise_not")(), ("x",), ("y",))
    graph = Graph.build("late", {"x": x}, [late], {}, ["y"])
    with pytest.raises(GraphError, match="BitwiseNot"):
        nbcnn.to_onnx(graph, tmp_path / "m.onnx", opset=11)
    assert not list(tmp_path.iterdir())
