"""Faults planted for the tests of bisect and shrink: passes and a kernel that are wrong in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from strategies import Builder

from nbcnn.ir import Graph, Rewriter, Weight
from nbcnn.kernels.cpu import kernels
from nbcnn.kernels.cpu.conv import IndirectConv
from nbcnn.lower import build as lower_build
from nbcnn.ops.activation import Relu, Relu6, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.reshape import Flatten
from nbcnn.ops.softmax import Softmax
from nbcnn.passes import EXACT, Lossy, Pass
from nbcnn.passes.fuse_conv_bn import FuseConvBn


def residual_network(blocks: int = 4, variance: float = 1.0) -> Graph:
    """conv-bn-silu, then blocks of two conv-bn with a residual, then a classifier with softmax."""
    build = Builder()
    x = build("stem", Conv2d(16, 3, padding=1, bias=False), build.input(3, 12, 12))
    x = build("act", Silu(), build("bn", BatchNorm(), x))
    for i in range(blocks):
        y = build(f"{i}.conv1", Conv2d(16, 3, padding=1, bias=False), x)
        y = build(f"{i}.act1", Relu(), build(f"{i}.bn1", BatchNorm(), y))
        y = build(f"{i}.bn2", BatchNorm(), build(f"{i}.conv2", Conv2d(16, 1, bias=False), y))
        x = build(f"{i}.act2", Relu(), build(f"{i}.add", Add(), y, x))
    x = build("fc", Dense(5), build("flat", Flatten(), build("gap", GlobalAvgPool(), x)))
    graph = build.graph(build("prob", Softmax(), x))
    for name, weight in build.weights.items():
        if name.endswith("running_var"):
            build.weights[name] = Weight.of(weight.array * np.float32(variance))
    return Graph.build(graph.name, graph.inputs, graph.nodes, build.weights, graph.outputs)


@dataclass(frozen=True)
class ForgetsEpsilon(Pass):
    """fuse-conv-bn that takes epsilon for 0 in one place (or everywhere)."""

    name: ClassVar[str] = "fuse-conv-bn-without-epsilon"
    contract: ClassVar = FuseConvBn.contract
    only: str = ""

    def run(self, rw: Rewriter) -> None:
        FuseConvBn().run(rw)
        for name in [rewrite.node for rewrite in rw.rewrites if self.only in ("", rewrite.node)]:
            norm, conv = rw.before.node(name), rw.graph.node(name)
            _, shift, _, variance = (rw.before.weight(v).array for v in norm.weights)
            ratio = np.sqrt(1 + norm.op.epsilon / variance)
            weight, bias = (rw.graph.weight(v).array for v in conv.weights)
            wrong = weight * ratio.reshape(-1, 1, 1, 1), (bias - shift) * ratio + shift
            names = [rw.add_weight(f"{name}.wrong", array.astype(np.float32)) for array in wrong]
            rw.replace(name, conv.op, (*conv.data, *names))
            for old in conv.weights:
                rw.erase(old)


@dataclass(frozen=True)
class WrongBranch(Pass):
    """fuse-residual-add that, in one place, adds another value of the same type."""

    name: ClassVar[str] = "fuse-wrong-residual"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for number, node in enumerate([n for n in rw.graph.nodes if isinstance(n.op, Add)]):
            other = "act" if number == 2 else node.inputs[1]
            if not rw.begin(node.name, "rewritten"):
                return
            rw.replace(node.name, node.op, (node.inputs[0], other))


class OnePercent(IndirectConv):
    """The ordinary convolution with the weights of one output channel 1 % off, at one node."""

    name = "igemm_one_percent"
    channel = 7

    def __init__(self, node: str) -> None:
        self.node = node

    def cost(self, site, target):
        return 0.0 if self.node in (site.name, *(n.name for n in site.body)) else 1e9

    def steps(self, site, *rest):
        (name, weight), *others = site.weights
        array = weight.array.copy()
        array[self.channel] *= np.float32(1.01)
        return super().steps(replace(site, weights=((name, Weight.of(array)), *others)), *rest)


def plant(monkeypatch, node: str) -> None:
    table = (OnePercent(node), *kernels())
    monkeypatch.setattr(lower_build, "kernels", lambda: table)


@dataclass(frozen=True)
class Halves(Pass):
    """Makes the classifier's weights smaller; promises that results move by at most ``bound``."""

    name: ClassVar[str] = "halves"
    contract: ClassVar = Lossy(metric="output_error", bound=0.3)
    factor: float = 0.5

    def run(self, rw: Rewriter) -> None:
        if rw.begin("fc", "scaled"):
            node = rw.graph.node("fc")
            old = rw.graph.weight(node.weights[0])
            new = rw.add_weight("small", old.array * np.float32(self.factor))
            rw.replace("fc", node.op, (*node.data, new, *node.weights[1:]))
            rw.erase(node.weights[0])


@dataclass(frozen=True)
class Clamps(Pass):
    """Takes relu for relu6, which large values alone show."""

    name: ClassVar[str] = "clamps"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for node in rw.graph.nodes:
            if isinstance(node.op, Relu) and rw.begin(node.name, "clamped"):
                rw.replace(node.name, Relu6(), node.inputs)
