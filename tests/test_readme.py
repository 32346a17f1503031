"""What the README promises: two commands, a model that loads, Python that runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import nbcnn

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]


def test_exactly_two_commands() -> None:
    run, check = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert "nbcnn run digits" in run
    assert "nbcnn bench" in run
    assert check.endswith("pytest")
    assert len(re.findall("```sh", README)) == 2


def test_model(tmp_path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(block("yaml"))
    graph = nbcnn.load(file)
    assert graph.type("fc").shape == ("N", 10)


def test_pipeline(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(block("yaml", 1))
    assert nbcnn.optimize(nbcnn.load("lenet5"), file, rounds=2).outputs


def test_python(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("python").replace("resnet50", "digits").replace("3, 224, 224", "1, 8, 8")
    code = "\n".join(line for line in code.splitlines() if "to_onnx" not in line)  # needs an extra
    names: dict = {}
    exec(code, names)
    assert names["y"].shape == (1, 10)


def test_streams() -> None:
    x = np.ones((1, 1, 8, 8), np.float32)
    names: dict = {"nbcnn": nbcnn, "graph": nbcnn.load("digits"), "x": x, "images": [x, 2 * x]}
    exec(block("py"), names)
    np.testing.assert_array_equal(names["y"], names["model"](2 * x))
    np.testing.assert_array_equal(names["future"].result(), names["model"](x))


def test_pruning() -> None:
    names: dict = {"nbcnn": nbcnn}
    exec(block("python", 1).replace("resnet50", "digits").replace("1x4", "unstructured"), names)
    masks = [w.mask for w in names["graph"].weights.values() if w.mask is not None]
    assert 1 - sum(m.sum() for m in masks) / sum(m.size for m in masks) > 0.85
    assert any(w.sparsity for w in names["model"].graph.weights.values())
