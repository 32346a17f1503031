"""The tables of accuracy, and a small network measured."""

import numpy as np
import pytest
from bench_scripts import loaded


@pytest.fixture(scope="module")
def script():
    return loaded("accuracy")


def test_a_small_network_is_within_its_bounds(script):
    found = script.row("digits")
    assert 0 < found.errors["default"] < 1e-5
    assert {"default", "default, direct", "max", "max, direct"} <= set(found.errors)
    assert all(0 <= layer.excess <= 1 for layer in found.layers + found.direct)
    assert not any(layer.winograd for layer in found.direct)
    assert len(found.layers) >= 4


def test_the_tables(script):
    layers = [
        script.Layer("a", "winograd4", 0.25, 6e-7),
        script.Layer("b", "winograd2", 0.1, 3e-7),
        script.Layer("c", "igemm", 0.125, 1e-7),
        script.Layer("d", "binary", 1.0, 1e-8, product=False),
    ]
    direct = [script.Layer(name, "igemm", 0.1, 2e-7) for name in "abc"]
    text = script.table([script.Row("m", {"default": 1e-6, "max": 2e-6}, layers, direct)], "a machine")
    assert text.index("Weights are random") < text.index("## Networks") < text.index("Layers are judged")
    assert "| m | 1.0e-06 | 2.0e-06 |" in text
    assert "| m | 2 | 0.25 a | 1 | 0.12 c | 3.0 |" in text
    text = script.table([script.Row("m", {"default": 1e-6}, layers[2:], direct)], "a machine")
    assert "| m | 0 | - | 1 | 0.12 c | - |" in text


def test_errors_are_relative_to_the_largest_result(script):
    want = {"y": np.array([1.0, -4.0]), "z": np.array([1.0])}
    assert script.relative(want, {"y": np.array([1.0, -3.0]), "z": np.array([1.125])}) == 0.25
