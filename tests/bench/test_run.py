import json
import os
import subprocess
import sys

import numpy as np
import pytest

from nbcnn import bench
from nbcnn.bench import Job, engines, measure, prepare
from nbcnn.bench.engines import Engine
from nbcnn.bench.remote import environment
from nbcnn.errors import NbcnnError, OptionError
from nbcnn.ir import TensorType


@pytest.fixture
def world(monkeypatch, fake, task):
    """A bench whose engines are fakes and whose model is prepared already."""
    monkeypatch.setattr(measure, "BLOCK_S", 0.01)
    monkeypatch.setattr(prepare, "prepare", lambda job, folder, onnx: task)
    monkeypatch.setattr(engines, "NBCNN", fake("nbcnn", seconds=0.004))
    absent = Engine("absent", "nowhere:Engine", needs=("no_such_module_here",), extra="peers")
    table = {
        "slow": (fake("slow", seconds=0.008),),
        "wrong": (fake("wrong", scale=1.5),),
        "broken": (fake("broken", fail="load"),),
        "absent": (
            absent,
            Engine("absent (bf16)", "nowhere:Engine", needs=("no_such_module_here",), extra="peers"),
        ),
    }
    monkeypatch.setattr(engines, "ENGINES", table)


def test_one_report_of_slow_wrong_broken_and_absent_engines(world):
    job = Job("any", against=("slow", "wrong", "broken", "absent"), time=0.05, profile=True)
    result = bench.run(job)
    report = json.loads(json.dumps(result.as_json()))
    assert [e["name"] for e in report["engines"]] == ["nbcnn", "slow", "wrong"]
    assert report["missing"] == [{"name": "absent", "extra": "peers"}]
    assert report["failed"] == [{"name": "broken", "error": "ValueError: cannot read the model"}]
    ours, slow, wrong = report["engines"]
    assert ours["ratio"] == 1.0
    assert slow["note"] == "asleep mostly"
    assert slow["ratio"] == pytest.approx(2, rel=0.15)
    assert slow["ratio_q1"] <= slow["ratio"] <= slow["ratio_q3"]
    assert slow["max_rel_err"] == 0
    assert wrong["max_rel_err"] == pytest.approx(0.5)
    assert any("wrong: its outputs differ" in w for w in result.warnings)
    assert result.profile[0]["kernel"] == "sleep"


def test_without_peers_nbcnn_stands_alone(world):
    result = bench.run(Job("any", against=(), time=0.05))
    assert [row.name for row in result.rows] == ["nbcnn"]


def test_when_nbcnn_fails_the_error_is_one_line(world, monkeypatch, fake):
    monkeypatch.setattr(engines, "NBCNN", fake("nbcnn", fail="load"))
    with pytest.raises(NbcnnError, match="could not run 'any': ValueError: cannot read the model"):
        bench.run(Job("any", against=("slow",), time=0.05))


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"threads": 0}, {"warmup": -1}, {"time": 0}, {"time": float("nan")}]
)
def test_senseless_options_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Job("any", **wrong)


def test_the_input_is_seeded_and_fits_its_type():
    types = {"image": TensorType(("N", 3, 4, 4)), "index": TensorType(("N",), "int64")}
    once, again = prepare.draw(types, 5), prepare.draw(types, 5)
    assert once["image"].shape == (5, 3, 4, 4)
    assert once["image"].dtype == np.float32
    assert once["index"].dtype == np.int64
    assert (once["image"] == again["image"]).all()


def test_an_open_extent_is_refused():
    with pytest.raises(OptionError, match="'image' leaves 'H' open"):
        prepare.draw({"image": TensorType(("N", 3, "H", 4))}, 1)


def test_workers_find_this_nbcnn_and_the_thread_count():
    env = environment({"PYTHONPATH": "elsewhere", "OMP_NUM_THREADS": "64"}, 3)
    assert env["OMP_NUM_THREADS"] == env["NUMBA_NUM_THREADS"] == "3"
    assert env["PYTHONPATH"].endswith("elsewhere")


def test_a_worker_imports_nothing_that_its_engine_does_not_need():
    code = "import sys, nbcnn.bench.worker as w; print({'rich', 'numba', 'onnx', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=environment(os.environ, 1))  # fmt: skip
    assert done.stdout.strip() == "set()"
