"""nbcnn import and export, and ONNX files where a model is named."""

from __future__ import annotations

import numpy as np
import pytest

import nbcnn

onnx = pytest.importorskip("onnx")
mutations = pytest.importorskip("mutations")


@pytest.fixture
def lenet(tmp_path):
    nbcnn.to_onnx(nbcnn.load("lenet5"), tmp_path / "lenet5.onnx")
    return tmp_path / "lenet5.onnx"


def test_there_and_back(cli, lenet, tmp_path) -> None:
    result = cli("import", lenet, "-o", tmp_path / "again.yaml")
    assert result.exit_code == 0, result.stderr
    assert "12 nodes, 61,706 parameters, 416,520 MACs" in " ".join(result.stdout.split())
    graph, again = nbcnn.load("lenet5"), nbcnn.load(tmp_path / "again.yaml")
    assert [(n.name, n.op.name, n.inputs) for n in again.nodes] == [
        (n.name, n.op.name, n.inputs) for n in graph.nodes
    ]
    for name, weight in graph.weights.items():
        np.testing.assert_array_equal(again.weight(name).array, weight.array)
    result = cli(
        "export", tmp_path / "again.yaml", tmp_path / "small.onnx", "--passes", "default", "--opset", "13"
    )
    assert result.exit_code == 0, result.stderr
    assert onnx.load(tmp_path / "small.onnx").opset_import[0].version == 13


def test_verbs_take_onnx_files(cli, lenet) -> None:
    for words in (("show", lenet), ("optimize", lenet), ("explain", lenet)):
        result = cli(*words)
        assert (result.exit_code, result.stderr) == (0, "")


def test_open_extents_are_bound(cli, tmp_path) -> None:
    proto = mutations.model([onnx.helper.make_node("Relu", ["x"], ["y"])], [("x", ["N", 3, "h", "w"])], ["y"])
    onnx.save_model(proto, tmp_path / "m.onnx")
    assert cli("import", tmp_path / "m.onnx", "-o", tmp_path / "m.yaml").exit_code == 2
    words = ("import", tmp_path / "m.onnx", "-o", tmp_path / "m.yaml", "--shapes")
    assert "NAME=NUMBER" in cli(*words, "h:4").stderr
    assert cli(*words, "h=4,w=6").exit_code == 0
    assert nbcnn.load(tmp_path / "m.yaml").inputs["x"].shape == ("N", 3, 4, 6)


def test_what_is_not_served_is_listed_line_by_line(cli, tmp_path) -> None:
    nodes = [onnx.helper.make_node(kind, ["x"], [kind]) for kind in ("LSTM", "GRU")]
    onnx.save_model(mutations.model(nodes, [("x", [1, 2])], ["GRU"]), tmp_path / "m.onnx")
    result = cli("show", tmp_path / "m.onnx")
    assert result.exit_code == 2
    head, *lines = result.stderr.splitlines()
    assert head.startswith("error: ") and head.endswith("2 nodes cannot be read:")
    assert [line.split("'")[1] for line in lines] == ["LSTM", "GRU"]


def test_an_opset_that_does_not_exist(cli, lenet, tmp_path) -> None:
    result = cli("export", "lenet5", tmp_path / "m.onnx", "--opset", "10")
    assert (result.exit_code, "opset must be from 11" in result.stderr) == (2, True)
