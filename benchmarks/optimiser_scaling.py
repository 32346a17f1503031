"""How the time of a pipeline grows with the graph, from 600 to 5,000 nodes, and that of ResNet-50.

    python benchmarks/optimiser_scaling.py [--passes default] [--nodes 600 1250 2500 5000] [--profile]

Prints seconds, and the exponent of the growth from one size to the next (1 is linear). The weights are small,
so what is timed is the graph and not the arithmetic on weights; of ResNet-50 it is both.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import sys
import time
from collections.abc import Callable

import numpy as np

import nbcnn
from nbcnn import ops
from nbcnn.ir import Graph, Node, Op, TensorType, Weight
from nbcnn.passes import run

IMAGE = TensorType(("N", 4, 8, 8))


class Writer:
    """Adds nodes one after the other, over one set of weights per node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Weight] = {}
        self.rng = np.random.default_rng(0)

    def __call__(self, op: Op, *data: str) -> str:
        name = f"{op.name}{len(self.nodes)}"
        names = []
        for slot, param in op.params(*[IMAGE] * len(data)).items():
            names.append(f"{name}.{slot}")
            values = self.rng.uniform(0.5, 1.5, param.type.extents()).astype(np.float32)
            self.weights[names[-1]] = Weight.of(values, trainable=param.trainable)
        self.nodes.append(Node(name, op, (*data, *names), (name,)))
        return name

    def unit(self, value: str) -> str:
        """Convolution, batch norm, relu, dropout."""
        conv = self(ops.get("conv2d")(4, (3, 3), padding=(1, 1, 1, 1), bias=False), value)
        return self(ops.get("dropout")(), self(ops.get("relu")(), self(ops.get("batch_norm")(), conv)))


def chain(count: int) -> Graph:
    """A chain of about ``count`` nodes."""
    write, value = Writer(), "x"
    while len(write.nodes) < count:
        value = write.unit(value)
    return Graph.build(f"chain{count}", {"x": IMAGE}, write.nodes, write.weights, [value])


def resnet(count: int) -> Graph:
    """Residual blocks of two convolutions, about ``count`` nodes."""
    write, value = Writer(), "x"
    while len(write.nodes) < count:
        inner = write.unit(value)
        inner = write(ops.get("conv2d")(4, (3, 3), padding=(1, 1, 1, 1), bias=False), inner)
        inner = write(ops.get("batch_norm")(), inner)
        value = write(ops.get("relu")(), write(ops.get("add")(), inner, value))
    return Graph.build(f"resnet{count}", {"x": IMAGE}, write.nodes, write.weights, [value])


def branches(count: int) -> Graph:
    """One value read by every one of count / 4 branches, added up one by one."""
    write = Writer()
    total = first = write.unit("x")
    while len(write.nodes) < count:
        conv = write(ops.get("conv2d")(4, (1, 1)), first)
        total = write(ops.get("add")(), write(ops.get("relu")(), conv), total)
    return Graph.build(f"branches{count}", {"x": IMAGE}, write.nodes, write.weights, [total])


def fan(count: int) -> Graph:
    """One value read by every one of ``count`` activations; the sum of all of them."""
    write = Writer()
    first = write(ops.get("conv2d")(4, (1, 1)), "x")
    readers = [write(ops.get("relu")(), first) for _ in range(count // 2)]
    total = readers[0]
    for reader in readers[1:]:
        total = write(ops.get("add")(), total, reader)
    return Graph.build(f"fan{count}", {"x": IMAGE}, write.nodes, write.weights, [total])


SHAPES: dict[str, Callable[[int], Graph]] = {
    "chain": chain,
    "resnet": resnet,
    "branches": branches,
    "fan": fan,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", default="default")
    parser.add_argument("--nodes", type=int, nargs="+", default=[600, 1250, 2500, 5000])
    parser.add_argument("--profile", action="store_true", help="show where the time of the largest goes")
    args = parser.parse_args()
    for name, make in SHAPES.items():
        last: tuple[int, float] | None = None
        for count in args.nodes:
            graph = make(count)
            seconds = timed(graph, args.passes, args.profile and count == args.nodes[-1])
            nodes = len(graph.nodes)
            growth = math.log(seconds / last[1]) / math.log(nodes / last[0]) if last else math.nan
            sys.stdout.write(f"{name:10} {nodes:6} nodes {seconds:8.3f} s   growth n^{growth:.2f}" + "\n")
            last = nodes, seconds
    graph = nbcnn.load("resnet50")
    for weight in graph.weights.values():
        weight.array  # noqa: B018  # drawn now, not while the passes are timed
    seconds = timed(graph, args.passes, args.profile)
    sys.stdout.write(f"resnet50   {len(graph.nodes):6} nodes {seconds:8.3f} s\n")


def timed(graph: Graph, passes: str, profile: bool) -> float:
    """Seconds that the pipeline takes, structural checks included."""
    profiler = cProfile.Profile()
    start = time.perf_counter()
    if profile:
        profiler.enable()
    run(graph, passes)
    seconds = time.perf_counter() - start
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(18)
    return seconds


if __name__ == "__main__":
    main()
