"""Taps: values inside fused nodes and between nodes, read without taking anything apart."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import Builder, arrays

import nbcnn
from nbcnn import reference
from nbcnn.errors import InputError, OptionError
from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import GlobalMaxPool
from nbcnn.ops.reshape import Flatten


@pytest.fixture(scope="module")
def graph() -> Graph:
    build = Builder()
    x = build.input(16, 8, 8)
    a = build("act1", Silu(), build("conv1", Conv2d(16, 3, padding=1), x))
    b = build("bn", BatchNorm(), build("conv2", Conv2d(16, 3, padding=1, bias=False), a))
    c = build("relu", Relu(), build("add", Add(), b, a))
    d = build("conv4", Conv2d(16, 1), build("conv3", Conv2d(16, 1), c))
    return build.graph(build("flat", Flatten(), build("pool", GlobalMaxPool(), d)))


INSIDE = ("conv1", "bn", "add", "act1", "conv3", "flat", "x")


@pytest.mark.parametrize("batch", (1, 3))
def test_taps_read_values_inside_fused_nodes(graph, batch) -> None:
    model = nbcnn.compile(graph, threads=1, taps=INSIDE)
    inputs = arrays(graph, batch)
    expected = reference.run(graph, inputs, np.float64, keep=INSIDE)
    found = model.tap(**inputs, values=INSIDE)
    assert list(found) == list(INSIDE)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert model.tap(**inputs).keys() == {*INSIDE}


def test_nothing_is_unfused_and_the_answer_is_the_same(graph) -> None:
    plain, tapped = nbcnn.compile(graph, threads=1), nbcnn.compile(graph, threads=1, taps=INSIDE)
    steps = [(row.node, row.kernel) for row in tapped.explain()]
    assert [step for step in steps if step[0] not in ("conv1", "bn", "add")] == [
        (row.node, row.kernel) for row in plain.explain()
    ]
    fused = {row.node: row.family for row in tapped.explain() if row.op != "layout"}
    assert fused["conv1"] == fused["act1"]
    assert fused["bn"] == fused["add"] == fused["relu"]
    inputs = arrays(graph, 1)
    np.testing.assert_array_equal(plain(**inputs), tapped(**inputs))


def test_only_tapped_values_are_kept() -> None:
    build = Builder()
    x = build.input(16, 8, 8)
    for number in range(6):
        x = build(f"conv{number}", Conv2d(16, 1), x)
    graph = build.graph(x)
    plain, tapped, all_ = (
        nbcnn.compile(graph, threads=1, **options).memory().arena
        for options in ({}, {"taps": ["conv1"]}, {"keep_values": True})
    )
    assert plain < tapped < all_


def test_wrong_taps_are_refused(graph) -> None:
    with pytest.raises(OptionError, match=r"'conv5'.*did you mean 'conv"):
        nbcnn.compile(graph, taps=["conv5"])
    with pytest.raises(OptionError, match="taps must be names"):
        nbcnn.compile(graph, taps="conv1")
    model = nbcnn.compile(graph, threads=1, taps=["add"])
    with pytest.raises(InputError, match="'relu' is not kept"):
        model.tap(**arrays(graph, 1), values=["relu"])
    with pytest.raises(InputError, match="no value 'ad'"):
        model.tap(**arrays(graph, 1), values=["ad"])
