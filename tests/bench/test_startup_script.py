"""Stages of a start, from a small network and from numbers made by hand."""

import pytest
from bench_scripts import loaded


@pytest.fixture(scope="module")
def script():
    return loaded("startup")


def test_a_small_network_starts(script, tmp_path):
    import nbcnn

    nbcnn.save(nbcnn.load("digits"), tmp_path / "digits.yaml")
    found = script.ask(tmp_path / "digits.yaml")
    assert list(found) == list(script.STAGES)
    assert all(0 < seconds < 60 for seconds in found.values())


def test_medians_tables_and_goals(script):
    runs = [dict.fromkeys(script.STAGES, seconds) for seconds in (0.1, 0.2, 0.9)]
    warm = {"a": script.median(runs), "b": script.median(runs[2:])}
    cold = {"a": dict.fromkeys(script.STAGES, 4.5)}
    assert warm["a"]["load"] == 0.2
    text = script.markdown(warm, cold, "a machine")
    assert "| a | 0.20 | 0.20 | 0.20 | 0.20 | 0.20 | **1.00** |" in text
    assert text.count("\n| a | ") == 2
    assert script.missed(warm, cold) == [
        "b: a warm start took 4.5 s, more than 1.5",
        "a: a cold start took 22.5 s, more than 20",
    ]
