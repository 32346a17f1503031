"""Planted faults, each named with its pass, rewrite and node (or kernel and node); right pipelines pass."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from planted import ForgetsEpsilon, Halves, OnePercent, WrongBranch, plant, residual_network
from strategies import arrays, graphs

import nbcnn
from nbcnn.debug import bisect, program
from nbcnn.errors import InputError
from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.lower import memory
from nbcnn.ops.activation import Relu
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.softmax import Softmax
from nbcnn.passes import EXACT, Pass, Repeat
from nbcnn.passes.fuse_activation import FuseActivation
from nbcnn.passes.fuse_conv_bn import FuseConvBn
from nbcnn.passes.fuse_residual_add import FuseResidualAdd
from nbcnn.passes.remove_dead import RemoveDead


@pytest.mark.parametrize("at", ("bn", "1.bn2", "3.bn1"))
def test_a_forgotten_epsilon(at) -> None:
    graph = residual_network(variance=1e-3)
    report = bisect(graph, [RemoveDead(), Repeat((ForgetsEpsilon(at), FuseActivation()))])
    fault = report.fault
    assert fault and (fault.stage, fault.step, fault.number) == ("pass", str(ForgetsEpsilon(at)), 2)
    assert fault.rewrite and fault.rewrite.node == at
    order = [n.name for n in graph.nodes if isinstance(n.op, BatchNorm)]
    assert fault.rewrite.number == order.index(at) + 1
    assert fault.node == fault.tensor.name == at
    assert 30 < fault.tensor.sqnr < 70
    spread = {t.name: t.sqnr for t in report.tensors}
    assert all(spread[name] > 120 for name in order[: order.index(at)])
    assert spread[at] < 80
    assert spread["fc"] < 80
    assert spread["prob"] > 300, "a softmax that saturates: the result alone would not show the fault"


def test_a_forgotten_epsilon_even_where_variances_are_large() -> None:
    report = bisect(residual_network(), [ForgetsEpsilon(), RemoveDead()], trace=False)
    assert report.fault and report.fault.rewrite.number == 1
    assert report.fault.node == "bn"
    assert not report.tensors


@pytest.mark.parametrize("rtol", (None, 1e-3))
def test_a_residual_from_the_wrong_branch(rtol) -> None:
    report = bisect(residual_network(), [FuseConvBn(), WrongBranch(), FuseResidualAdd()], rtol=rtol)
    fault = report.fault
    assert fault and (fault.stage, fault.step, fault.number) == ("pass", str(WrongBranch()), 2)
    assert (fault.rewrite.number, fault.rewrite.node, fault.node) == (3, "2.add", "2.add")
    assert fault.tensor.name == "2.add"
    assert [p.rewrites for p in report.passes] == [9, 4]


@pytest.mark.parametrize("node", ("0.bn2", "3.bn1"))
def test_a_wrong_column_of_a_small_network(monkeypatch, node) -> None:
    plant(monkeypatch, node)
    report = bisect(residual_network(), threads=1)
    fault = report.fault
    assert fault and fault.stage == "lowering"
    assert fault.tensor.name == node, "the convolution inside the fused node, not its activation"
    assert fault.node == node[:2] + ("act2" if node.endswith("bn2") else "act1")
    assert "igemm" in fault.kernel
    assert fault.tensor.worst[1] == OnePercent.channel
    assert all(p.worst is None or p.worst.right for p in report.passes)


def test_a_wrong_column_of_mobilenet_v2(monkeypatch) -> None:
    graph = nbcnn.load("mobilenet_v2")
    last = graph.nodes[-1]
    ends_in_softmax = Graph.build(
        graph.name,
        graph.inputs,
        [*graph.nodes, Node("prob", Softmax(), (last.output,), ("prob",))],
        graph.weights,
        ["prob"],
    )
    plant(monkeypatch, "features.9.conv.3")
    report = bisect(ends_in_softmax, "fuse-conv-bn, fuse-activation", threads=1)
    fault = report.fault
    assert fault and (fault.stage, fault.node) == ("lowering", "features.9.conv.3")
    assert fault.tensor.worst[1] == OnePercent.channel
    assert "igemm" in fault.kernel


def test_a_pass_that_breaks_the_structure() -> None:
    class Breaks(Pass):
        name: ClassVar[str] = "breaks"
        contract: ClassVar = EXACT

        def run(self, rw: Rewriter) -> None:
            for node in [n for n in rw.graph.nodes if isinstance(n.op, Relu)]:
                if not rw.begin(node.name, "replaced"):
                    return
                rw.replace(node.name, Conv2d(3, 1) if node.name == "1.act2" else Relu(), node.inputs)

    report = bisect(residual_network(), [FuseConvBn(), Breaks()])
    assert report.fault and "pass 'breaks' broke the graph" in report.fault.why
    assert report.fault.number == 2
    assert report.fault.rewrite.number == 9 + 4


def test_lossy_passes_are_held_to_their_metric() -> None:
    graph = residual_network()
    assert bisect(graph, [Halves(0.99)]).fault is None
    report = bisect(graph, [Halves(0.01)])
    assert report.fault and (report.fault.node, report.fault.rewrite.number) == ("fc", 1)
    assert "promised 0.3" in report.fault.why


def test_values_that_overlap_in_memory(monkeypatch) -> None:
    lifetimes = memory.lifetimes

    def too_short(touched, keep=()):
        spans = lifetimes(touched, keep)
        return spans if keep else {b: (first, first) for b, (first, _) in spans.items()}

    monkeypatch.setattr(memory, "lifetimes", too_short)
    fault = bisect(residual_network(), threads=1).fault
    assert fault and (fault.stage, fault.kernel) == ("lowering", "memory plan")
    assert fault.tensor.name == "prob"


def test_memory_stays_within_bounds(monkeypatch) -> None:
    whole = bisect(residual_network(), threads=1).tensors
    monkeypatch.setattr(program, "MOST_BYTES", 50_000)  # a few values of 9 KB at a time
    assert [t.name for t in bisect(residual_network(), threads=1).tensors] == [t.name for t in whole]


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_right_pipelines_are_right(graph) -> None:
    report = bisect(graph, inputs=arrays(graph), compiled=False)
    assert report.fault is None


def test_a_right_program() -> None:
    report = bisect(residual_network(), threads=1)
    assert report.fault is None
    assert {t.name for t in report.tensors} >= {"3.act2", "prob"}
    assert min(t.sqnr for t in report.tensors) > 100


def test_wrong_inputs_are_the_users_mistake() -> None:
    with pytest.raises(InputError):
        bisect(residual_network(), inputs={"x": np.zeros((1, 3, 4, 4), np.float32)})


@pytest.mark.slow
@pytest.mark.parametrize("name", ("resnet18", "mobilenet_v2"))
def test_the_default_pipeline_is_right(name) -> None:
    assert bisect(nbcnn.load(name)).fault is None
