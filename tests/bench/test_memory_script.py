"""The tables of memory, from measurements made by hand, and one that is real."""

from pathlib import Path

import pytest
from bench_scripts import loaded


@pytest.fixture(scope="module")
def script():
    return loaded("memory")


def measured(first, tiny, last, **more):
    sizes = {"import": first, "engine": tiny, "network": last}
    return {stage: {"Rss": mib, "Pss": mib - 1, "Anonymous": mib - 2} for stage, mib in sizes.items()} | more


@pytest.fixture
def row(script):
    def make(model, ours, theirs):
        packed = {"weights": 50.0, "arena": 4.0}
        found = {
            "nbcnn": measured(30.0, 60.0, ours, **packed),
            "nbcnn without Winograd": measured(30.0, 60.0, ours, **packed | {"weights": 30.0}),
            "onnxruntime": measured(50.0, 60.0, theirs),
        }
        return script.row(model, found)

    return make


def test_winograds_copies_stand_apart(script, row):
    found = row("a", 180.0, 150.0)
    assert found["winograd"] == 20.0
    assert found["since import"] == {"nbcnn": 150.0, "onnxruntime": 100.0, "ratio": 1.3}
    assert found["since engine"] == {"nbcnn": 120.0, "onnxruntime": 90.0, "ratio": 100 / 90}
    text = script.markdown([found], "a machine")
    assert "| a | 150 | 20 | 100 | 1.30 |" in text
    assert "| a | 120 | 20 | 90 | 1.11 |" in text
    assert "| a | 180 | 179 | 178 | 180 | 179 | 178 | 150 | 149 | 148 |" in text
    assert "| a | 50.0 | 4.0 |" in text


def test_networks_above_the_limit_are_named(script, row):
    assert script.above([row("a", 180.0, 150.0), row("b", 178.0, 150.0)]) == ["a"]


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what is resident")
def test_a_small_network_is_measured(script, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    script.prepare(tmp_path, ["lenet5"])
    theirs = script.ask("onnxruntime", tmp_path, "lenet5")
    ours = script.ask("nbcnn", tmp_path, "lenet5")
    for found in (ours, theirs):
        assert 5 < found["import"]["Rss"] < found["network"]["Rss"] < 1000
    assert 0.2 < ours["weights"] < 1
