import numpy as np
import pytest
from model_files import CONV, HEAD, assert_same, model

import nbcnn
from nbcnn import resources
from nbcnn.ir import Graph, Node, Rewriter, TensorType, Weight
from nbcnn.ops.arithmetic import Mul
from nbcnn.ops.conv2d import Conv2d

SMALL = [n for n in resources.names("graphs") if n not in ("alexnet", "vgg16", "resnet50")]


def round_trip(graph: Graph, folder) -> Graph:
    path = folder / "saved.yaml"
    nbcnn.save(graph, path)
    return nbcnn.load(path)


@pytest.mark.parametrize("name", SMALL)
def test_zoo_models_come_back(name, tmp_path):
    graph = nbcnn.load(name)
    assert_same(round_trip(graph, tmp_path), graph)


@pytest.mark.parametrize("name", SMALL)
def test_optimised_models_come_back(name, tmp_path):
    graph = nbcnn.optimize(nbcnn.load(name))
    assert any(n.op.name == "fused" for n in graph.nodes)
    again = round_trip(graph, tmp_path)
    assert_same(again, graph)
    assert_same(round_trip(again, tmp_path), graph)  # onto the file that its weights come from


def test_masks_flags_and_shared_weights_come_back(tmp_path):
    text = CONV.replace("channels: 4", "channels: 3")
    text += "  - {name: b, op: conv2d, channels: 3, kernel: 3, weights: {weight: conv.weight}, bias: false}\n"
    graph = model(tmp_path, text + "weights: {trainable: {conv.bias: false}}\n")
    weights = graph.weights
    mask = np.arange(81).reshape(3, 3, 3, 3) % 5 > 1
    weights["conv.weight"] = weights["conv.weight"].masked(mask)
    graph = Graph.build("m", graph.inputs, graph.nodes, weights, {"scores": "b"})
    again = round_trip(graph, tmp_path)
    assert_same(again, graph)
    assert (again.weight("conv.weight").array == 0).sum() >= (~mask).sum() > 0


def test_constants_as_operands_and_results(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        "factor": Weight.of(rng.standard_normal((3, 1, 1)).astype("f4")),
        "half": Weight.of(np.array(0.5), trainable=False),
    }
    nodes = [Node("mul", Mul(), ("x", "factor"), ("mul",))]
    graph = Graph.build("m", {"x": TensorType(("N", 3, 4, 4))}, nodes, weights, {"y": "mul", "h": "half"})
    assert_same(round_trip(graph, tmp_path), graph)


def test_strange_names_come_back(tmp_path):
    names = [
        "true",
        "1.10",
        "a: b",
        "$x",
        'quo"te\\',
        "it's",
        "über ☃ 🎉",
        "- x",
        "#",
        "N",
        "~",
        "a,b]}",
        "/conv/Conv",
    ]
    weights, nodes, above = {}, [], "no"
    for name in names:
        weights[f"{name}.weight"] = Weight.of(np.ones((2, 2, 1, 1), "f4"))
        nodes.append(Node(name, Conv2d(2, 1, bias=False), (above, f"{name}.weight"), (name,)))
        above = name
    graph = Graph.build(
        "null",
        {"no": TensorType((1, 2, 3, 3))},
        nodes,
        weights,
        {"1": above},
        {"labels": ("", "a b", "#1"), "description": "two: words"},
    )
    assert_same(round_trip(graph, tmp_path), graph)


def test_edited_graphs_come_back(tmp_path):
    graph = model(
        tmp_path,
        HEAD + "nodes: [{name: a, op: relu}, {name: b, op: tanh}, {name: c, op: add, inputs: [a, b]}]\n",
    )
    edit = Rewriter(graph)
    assert edit.begin("a", "test")
    from nbcnn.ops.activation import Relu6

    late = edit.add("late", Relu6(), ["image"])
    edit.replace("c", edit.graph.node("c").op, ["late", "b"])
    assert late == "late"
    assert_same(round_trip(edit.graph, tmp_path), edit.graph)


def test_files_appear_whole_and_readable(tmp_path):
    graph = model(tmp_path, CONV)
    nbcnn.save(graph, tmp_path / "saved.yaml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.yaml", "saved.safetensors", "saved.yaml"]
    assert (tmp_path / "saved.safetensors").stat().st_mode == (tmp_path / "m.yaml").stat().st_mode
