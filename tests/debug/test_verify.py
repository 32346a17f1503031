"""Passes that keep their contract, and passes that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from strategies import Builder

from nbcnn.debug.verify import Verifier
from nbcnn.errors import PassError
from nbcnn.ir import Graph, Rewriter
from nbcnn.ops.activation import Relu, Silu, Tanh
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import EXACT, REASSOCIATES, Lossy, Pass, run


def network() -> Graph:
    build = Builder()
    x = build("bn", BatchNorm(), build("conv", Conv2d(4, (3, 3), bias=False), build.input(3, 6, 6)))
    return build.graph(build("last", Tanh(), build("act", Relu(), x)))


@dataclass(frozen=True)
class Swap(Pass):
    """relu: silu."""

    name: ClassVar[str] = "swap"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        if rw.graph.node("act").op == Relu() and rw.begin("act", "swapped"):
            rw.replace("act", Silu(), rw.graph.node("act").inputs)


def swap(promised: Any) -> Pass:
    @dataclass(frozen=True)
    class Other(Swap):
        contract: ClassVar = promised

    return Other()


def test_default_keeps_its_contracts():
    graph = network()
    verifier = Verifier(graph)
    run(graph, "default", hooks=[verifier])
    verifier.check()
    notes = {v.step: v.note for v in verifier.verdicts if v.note != "nothing changed"}
    assert notes == {"fuse-conv-bn": "1 value within rounding", "fuse-activation": "structure alone changed"}


@pytest.mark.parametrize(
    "promised, says",
    [
        (EXACT, r"Swap.* broke its contract \(exact\): 'act' is not the same bit by bit \(SQNR"),
        (REASSOCIATES, r"broke its contract \(reassociates\): 'act' is .* times its tolerance off"),
        (Lossy(metric="output_error", bound=1e-3), r"output_error .*, promised 0.001"),
    ],
)
def test_a_pass_that_breaks_its_contract_is_named(promised, says):
    graph = network()
    verifier = Verifier(graph)
    pass_ = Swap() if promised == EXACT else swap(promised)
    run(graph, ["remove-dead", pass_], hooks=[verifier])
    assert [v.right for v in verifier.verdicts] == [True, False]
    with pytest.raises(PassError, match=says):
        verifier.check()


@pytest.mark.parametrize(
    "promised, note",
    [
        (Lossy(metric="output_error", bound=10.0), "promised 10"),
        (Lossy(metric="top1_drop", bound=0.1), "not judged: top1_drop cannot be told from the results"),
    ],
)
def test_a_lossy_pass_is_judged_by_its_metric(promised, note):
    graph = network()
    verifier = Verifier(graph)
    run(graph, swap(promised), hooks=[verifier])
    verifier.check()
    assert note in verifier.verdicts[0].note
