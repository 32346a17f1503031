from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import nbcnn
from nbcnn.bench import Job
from nbcnn.bench.prepare import prepare, split
from nbcnn.errors import PassError
from nbcnn.ir import TensorType
from nbcnn.passes import Lossy, Pass, Pipeline, table


@dataclass(frozen=True)
class Shrink(Pass):
    name: ClassVar[str] = "shrink"
    contract: ClassVar[Lossy] = Lossy(metric="top1_drop", bound=0.1)
    by: float = 0.5


@pytest.fixture
def shrink(monkeypatch):
    """A lossy pass that pipelines can name."""
    get = table.get
    monkeypatch.setattr(table, "get", lambda name: Shrink if name == "shrink" else get(name))


def test_a_pipeline_without_lossy_passes_is_nbcnns_own():
    assert split("default") == (None, "default")
    assert split("fuse-conv-bn, remove-dead") == (None, "fuse-conv-bn, remove-dead")


def test_lossy_passes_run_first_and_the_rest_is_nbcnns_own(shrink):
    lossy, own = split("fuse-conv-bn, shrink{by=0.9}, repeat{passes=[shrink]}, remove-dead")
    assert str(lossy) == "shrink{by=0.9}, repeat{passes=[shrink]}"
    assert own == "fuse-conv-bn, remove-dead"
    assert Pipeline.of(own).data() == ["fuse-conv-bn", "remove-dead"]


def test_nothing_is_left_for_nbcnn_when_every_pass_is_lossy(shrink):
    assert split("shrink{by=0.9}")[1] == "none"
    assert Pipeline.of("none").steps == ()


def test_an_unknown_pass_is_refused_before_anything_is_loaded():
    with pytest.raises(PassError, match="fuse-conv-bn"):
        prepare(Job("no such model", passes="fuse-conv-bm"), Path("nowhere"))


def test_every_engine_receives_the_model_that_the_lossy_passes_left(shrink, monkeypatch, tmp_path):
    graph = SimpleNamespace(inputs={"image": TensorType(("N", 1, 2, 2))}, trace=[])

    def optimize(graph, passes):
        return SimpleNamespace(inputs=graph.inputs, trace=[*graph.trace, str(passes)])

    def write(graph, path):
        Path(path).write_text(str(graph.trace))

    fakes = {"load": lambda name: graph, "optimize": optimize, "save": write, "to_onnx": write}
    for name, function in fakes.items():
        monkeypatch.setattr(nbcnn, name, function, raising=False)
    task = prepare(Job("m", batch=3, passes="shrink, remove-dead"), tmp_path)
    assert task.yaml.read_text() == task.onnx.read_text() == "['shrink']"
    assert (task.passes, task.sizes) == ("remove-dead", {"N": 3})
    with np.load(tmp_path / "inputs.npz") as file:
        assert file["names"].tolist() == ["image"]
        assert file["arr_0"].shape == (3, 1, 2, 2)
