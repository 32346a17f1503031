"""A failing model becomes a few nodes that still fail, also after they were saved and loaded."""

from __future__ import annotations

import pytest
from planted import OnePercent, WrongBranch, plant, residual_network

import nbcnn
from nbcnn.debug import bisect, shrink
from nbcnn.debug.shrink import same_fault
from nbcnn.errors import NbcnnError
from nbcnn.ir import Graph
from nbcnn.passes.fuse_conv_bn import FuseConvBn


def has(op: str, channels: int = 16):
    """Whether a graph holds an operator ``op`` that reads a value of so many channels."""

    def fails(graph: Graph) -> bool:
        return any(n.op.name == op and graph.type(n.data[0]).shape[1] == channels for n in graph.nodes)

    return fails


def test_cuts_before_and_after(tmp_path) -> None:
    graph = residual_network()
    for op in ("silu", "add", "global_avg_pool", "softmax"):
        small = shrink(graph, has(op, 5 if op == "softmax" else 16))
        assert [n.op.name for n in small.nodes] == [op]
        nbcnn.save(small, tmp_path / "small.yaml")
        assert [n.op.name for n in nbcnn.load(tmp_path / "small.yaml").nodes] == [op]
    small = shrink(graph, has("silu"))
    assert [t.shape for t in small.inputs.values()] == [("N", 16, 1, 1)]
    assert not small.weights


def test_looks_first_where_the_fault_is() -> None:
    graph, asked = residual_network(blocks=30), []

    def fails(candidate: Graph) -> bool:
        asked.append(len(candidate.nodes))
        return "17.add" in candidate and len(candidate.nodes) > 2

    assert len(shrink(graph, fails, near="17.add").nodes) == 3
    assert max(asked) < 12
    assert len(shrink(graph, fails, near="prob").nodes) == 3, "a wrong hint costs little"


def test_what_does_not_shrink_stays() -> None:
    graph = residual_network()
    assert shrink(graph, lambda g: len(g.nodes) == len(graph.nodes)).nodes == graph.nodes


def test_bypasses_what_leads_from_one_part_to_the_other() -> None:
    graph = residual_network()
    small = shrink(graph, lambda g: has("silu")(g) and has("add")(g))
    assert sorted(n.op.name for n in small.nodes) == ["add", "silu"]


def test_is_deterministic_and_bounded() -> None:
    graph = residual_network()
    asked: list[int] = []

    def fails(candidate: Graph) -> bool:
        asked.append(len(candidate.nodes))
        if len(candidate.nodes) == 2:
            raise NbcnnError("cannot run")
        return has("add")(candidate)

    first = shrink(graph, fails)
    assert len(asked) <= 200
    asked.clear()
    assert shrink(graph, fails).nodes == first.nodes
    asked.clear()
    shrink(graph, fails, most=5)
    assert len(asked) == 5


def test_a_wrong_residual_shrinks(tmp_path) -> None:
    graph, passes = residual_network(), [FuseConvBn(), WrongBranch()]
    fault = bisect(graph, passes).fault
    assert fault
    small = shrink(graph, same_fault(fault, passes))
    assert len(small.nodes) <= 6
    nbcnn.save(small, tmp_path / "small.yaml")
    again = bisect(nbcnn.load(tmp_path / "small.yaml"), passes).fault
    assert again and again.step == fault.step


@pytest.mark.parametrize("node", ["2.bn2"])
def test_a_wrong_kernel_shrinks(tmp_path, monkeypatch, node) -> None:
    plant(monkeypatch, node)
    fault = bisect(residual_network(), threads=1).fault
    assert fault
    small = shrink(residual_network(), same_fault(fault, "default", threads=1))
    assert 1 <= len(small.nodes) <= 2
    nbcnn.save(small, tmp_path / "small.yaml")
    again = bisect(nbcnn.load(tmp_path / "small.yaml"), threads=1).fault
    assert again and again.tensor.worst[1] == OnePercent.channel
