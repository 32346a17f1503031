"""``benchmarks/gpu.py`` without a GPU: rows that are lost, results that are added, tables."""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from bench_scripts import loaded

from nbcnn.bench import machine


@pytest.fixture(scope="module")
def gpu():
    return loaded("gpu")


@pytest.fixture(scope="module")
def gpu_rows():
    return loaded("gpu_rows")


class Fake:
    """An engine of known speed."""

    def __init__(self, seconds, scale=1.0, fail=False):
        self.seconds, self.scale, self.fail, self.asked = seconds, scale, fail, []

    def compile(self, inputs):
        if self.fail:
            raise RuntimeError("out of\nluck")
        self.inputs = inputs

    def run(self):
        time.sleep(2 * self.seconds)
        return self.inputs

    def read(self, result):
        return {name: self.scale * x for name, x in result.items()}

    def device_seconds(self, repeats):
        self.asked.append(repeats)
        return self.seconds


@pytest.fixture
def short(gpu_rows, monkeypatch):
    monkeypatch.setattr(gpu_rows, "SLICE_S", 0.01)


def test_engines_take_turns_and_are_compared(gpu_rows, short):
    sessions = {"nbcnn": Fake(0.001), "torch": Fake(0.002, 1.5), "torch.compile": Fake(0.1, fail=True)}
    found = gpu_rows.measured(sessions, {"x": np.ones((2, 3), np.float32)})
    ours, theirs = found["engines"]["nbcnn"], found["engines"]["torch"]
    assert list(found["engines"]) == ["nbcnn", "torch"]
    assert (ours["device_ms"], theirs["device_ms"]) == (1.0, 2.0)
    assert ours["wall_ms"] >= 2.0 and theirs["wall_ms"] >= 4.0
    assert theirs["ratio"] == [2.0, 2.0, 2.0]
    assert 1.2 < theirs["wall_ratio"][0] < 2.5
    assert theirs["error"] == pytest.approx(0.5)
    assert found["failed"] == {"torch.compile": "RuntimeError: out of"}
    assert sessions["nbcnn"].asked == [4] * gpu_rows.ROUNDS or sessions["nbcnn"].asked[0] == 3


def test_without_nbcnn_there_is_no_row(gpu_rows, short):
    sessions = {"nbcnn": Fake(0.001, fail=True), "torch": Fake(0.002)}
    found = gpu_rows.measured(sessions, {"x": np.ones(3)})
    assert found == {"engines": {}, "failed": {"nbcnn": "RuntimeError: out of"}}


def test_floors(gpu_rows):
    assert gpu_rows.floor(394e9, 0, "float16") == pytest.approx(1e-3)
    assert gpu_rows.floor(394, 4.3e9, "float16") == pytest.approx(1e-3)
    steps = [
        SimpleNamespace(node="conv", kernel="k", macs=394_000_000, nbytes=0),
        SimpleNamespace(node="relu", kernel="r", macs=0, nbytes=8_600_000),
    ]
    profile = [
        {"seconds": 2e-6, "gflops": 9.0, "gbytes": 8.0},
        {"seconds": 4e-6, "gflops": 0.0, "gbytes": 7.0},
    ]
    ours = SimpleNamespace(model=SimpleNamespace(explain=lambda batch: steps), profile=lambda: profile)
    whole = gpu_rows.work(ours, 1, "float16", False)
    assert whole == {"floor_ms": pytest.approx(3e-3), "layers": []}
    conv, relu = gpu_rows.work(ours, 1, "float16", True)["layers"]
    assert (conv["us"], conv["floor_us"], conv["gflops"]) == (2.0, pytest.approx(1.0), 9.0)
    assert (relu["node"], relu["kernel"], relu["floor_us"]) == ("relu", "r", pytest.approx(2.0))


def request(gpu, batches=(1, 8, 32), folder="nowhere"):
    return gpu.Request(folder, "float16", list(batches), [], [])


def test_a_process_that_fails_costs_one_row(gpu):
    asked = []

    def run(request, end):
        asked.append(list(request.batches))
        for batch in request.batches:
            if batch == 8:
                raise ChildProcessError("status -11")
            yield {"batch": batch, "engines": {"nbcnn": 1}, "failed": {}}

    found = list(gpu.rows(request(gpu), time.monotonic() + 60, run))
    assert [row["batch"] for row in found] == [1, 8, 32]
    assert [row["failed"] for row in found] == [{}, {"nbcnn": "status -11"}, {}]
    assert asked == [[1, 8, 32], [32]]


def test_a_process_that_fails_at_its_end_costs_nothing(gpu):
    def run(request, end):
        yield from ({"batch": batch, "engines": {}, "failed": {}} for batch in request.batches)
        raise ChildProcessError("status 1")

    found = list(gpu.rows(request(gpu), time.monotonic() + 60, run))
    assert [row["failed"] for row in found] == [{}, {}, {}]


def test_the_time_is_up(gpu):
    found = list(gpu.rows(request(gpu), time.monotonic() - 1, lambda *_: pytest.fail("too late")))
    assert [row["failed"]["nbcnn"] for row in found] == ["the time was up"] * 3


def test_a_child_says_its_last_words(gpu):
    with pytest.raises(ChildProcessError, match=r"status 1: .*nowhere"):
        list(gpu.child(request(gpu), time.monotonic() + 60))
    with pytest.raises(ChildProcessError, match="the time was up"):
        list(gpu.child(request(gpu), time.monotonic() + 0.01))


def row(batch, ms, **engines):
    ours = {"device_ms": ms, "wall_ms": 1.25 * ms, "compile_s": 1.0}
    layers = [
        {"node": "conv1", "kernel": "f16_conv", "us": 20.0, "floor_us": 5.0, "gflops": 2e5, "gbytes": 9.0}
    ]
    return {
        "model": "resnet50",
        "precision": "float16",
        "batch": batch,
        "engines": {"nbcnn": ours, **engines},
        "failed": {},
        "floor_ms": 0.5,
        "layers": layers,
    }


def peer(ratio, error=1e-3):
    quartiles = [ratio, ratio - 0.1, ratio + 0.1]
    return {"device_ms": 2.0, "wall_ms": 3.0, "ratio": quartiles, "wall_ratio": quartiles, "error": error}


def test_a_further_run_adds_to_what_is_there(gpu, tmp_path):
    found = gpu.read(tmp_path)
    assert found["rows"] == []
    gpu.add(found, row(128, 2.0, torch=peer(1.5)))
    gpu.add(found, {**row(1, 1.0), "engines": {}, "failed": {"nbcnn, torch": "status -11"}})
    gpu.add(found, {**row(1, 1.0, torch=peer(0.9, None)), "failed": {"torch.compile": "no"}})
    gpu.add(found, {**row(128, 1.0, **{"torch.compile": peer(1.25)}), "layers": []})
    gpu.write(tmp_path, found)
    again = gpu.read(tmp_path)
    assert again == json.loads(json.dumps(found))
    assert [list(r["engines"]) for r in again["rows"]] == [
        ["nbcnn", "torch", "torch.compile"],
        ["nbcnn", "torch"],
    ]
    assert [r["failed"] for r in again["rows"]] == [{}, {"torch.compile": "no"}]
    assert again["rows"][0]["layers"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "layers.md", "results.json"]
    lines = (tmp_path / "README.md").read_text().splitlines()
    cells = (
        "resnet50 | 128 | 1.000 | 1.250 | 102400 | 50% | 1.50 [1.40-1.60] | 1.50 | 1.0e-03 | 1.25 [1.15-1.35]"
    )
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {cells}"))
    assert lines[at - 1].startswith("| resnet50 | 1 | 1.000 |") and "| ? | - | - | - |" in lines[at - 1]
    assert "* resnet50 float16 batch 1, torch.compile: no" in lines
    assert "| conv1 | `f16_conv` | 20.0 | 5.0 | 25% | 200.0 | 9 |" in (tmp_path / "layers.md").read_text()


def test_the_whole_without_a_gpu(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out")])
    assert gpu.main() == 2
    assert "no NVIDIA GPU" in capsys.readouterr().err


def test_every_row_is_saved_as_it_comes(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "_gpu", lambda: {"gpu": "H200", "driver": "580"})
    monkeypatch.setattr(gpu, "prepare", lambda job, folder: (folder / "inputs.npz").touch())
    seen, saved = [], []

    def child(request, end):
        seen.append(request)
        for batch in request.batches:
            saved.append((tmp_path / "results.json").exists())
            ours = {"device_ms": 1.0, "wall_ms": 1.0}
            yield {"batch": batch, "engines": {"nbcnn": ours}, "failed": {}, "floor_ms": 0.1, "layers": []}

    monkeypatch.setattr(gpu, "child", child)
    words = ["--models", "resnet50,graphs/vgg16.yaml", "--precisions", "float16", "--batches", "1,8"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words, "--no-tune", "--out", str(tmp_path)])
    assert gpu.main() == 0
    assert [(r.against, r.batches, r.layers, r.tune) for r in seen] == [
        (against, part, layers, False)
        for against, layers in ((["torch"], [1, 128]), (["torch.compile"], []))
        for part in ([1], [8])
        for _ in range(2)
    ]
    assert {r.precision for r in seen} == {"float16"}
    assert saved == [False] + [True] * 7
    found = gpu.read(tmp_path)
    assert len(found["rows"]) == 4 and {r["model"] for r in found["rows"]} == {"resnet50", "vgg16"}
    assert (tmp_path / "README.md").read_text().splitlines()[2].startswith("H200, driver 580, ")
    assert "vgg16 float16 batch 8: nbcnn 1.000 ms (1.000 wall)" in capsys.readouterr().err
