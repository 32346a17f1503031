"""Holds the records of one operator to the float64 reference, through the compiler, in every precision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from conformance import excesses
from launch_plain import device, target
from precisions import NARROW, stored
from run_steps import Memory, emit
from strategies import Builder

from nbcnn.ir import Graph, Op, TensorType
from nbcnn.kernels.base import Kernel, Site
from nbcnn.kernels.layouts import PLAIN, View, nhwc
from nbcnn.lower.device_build import compile_graph
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.options import CompileOptions


def compiled(graph: Graph, precision: str = "float32"):
    """``graph`` as it stands, on this device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of operators without a kernel: `families` tells
        options = CompileOptions(precision=precision, keep_values=True)
        return compile_graph(graph, options, launcher=device())


def coarse(graph: Graph, batch: int) -> dict[str, np.ndarray]:
    """Inputs of few bits, which every type of images has, none of them 0."""
    rng = np.random.default_rng(batch)
    shapes = {name: type_.extents(batch) for name, type_ in graph.inputs.items()}
    return {
        name: np.asarray(rng.choice([-1, 1], shape) * rng.integers(1, 200, shape) / 64, np.float32)
        for name, shape in shapes.items()
    }


def families(model, batch: int = 1) -> list[str]:
    """The kernel family of every step."""
    return [row.family for row in model.explain(batch)]


def check(
    graph: Graph, *absent: str, precisions: tuple[str, ...] = ("float32", *NARROW), batch: int = 2
) -> None:
    """Right within its bound, without a step of the reference or of a family in ``absent``."""
    for precision in precisions:
        model = compiled(graph, precision)
        used = families(model, batch)
        assert not {"reference", *absent} & set(used), used
        found = excesses(model, coarse(graph, batch), stored(precision))
        wrong = {name: excess for name, excess in found.items() if not excess <= 1}
        assert not wrong, f"{precision}: times over the bound: {wrong}"


def as_pixels(build: Builder, x: str) -> str:
    """``x`` as a kernel leaves it that writes pixels of whole vectors."""
    return build(f"{x}.pixels", BatchNorm(), x)


def refusal(kernel: Kernel, op: Op, *types: TensorType) -> str | None:
    """Why ``kernel`` does not serve ``op`` of ``types``."""
    return kernel.refuse(site_of(op, *types), target(), CompileOptions())


def site_of(op: Op, *types: TensorType) -> Site:
    """``op`` alone, of data."""
    outs = op.infer(*types)
    names = tuple(f"x{i}" for i in range(len(types)))
    return Site("y", op, names, (), tuple(f"y{i}" for i in range(len(outs))), types, outs)


def run_record(kernel: Kernel, op: Op, kind: str, arrays: Sequence[np.ndarray]) -> Pixels:
    """The steps of ``kernel`` for operands that lie as images, in memory that was never written."""
    given = emit(len(arrays[0]), kind)
    memory = Memory(given)
    types = tuple(TensorType(("N", *a.shape[1:])) for a in arrays)
    site = site_of(op, *types)
    assert kernel.refuse(site, given.target, given.options) is None
    ins = tuple(memory.view(nhwc(t), t) for t in types)
    for view, array in zip(ins, arrays, strict=True):
        memory.put(view, array)
    layouts = kernel.writes(site, tuple(v.layout for v in ins))
    outs = tuple(memory.view(layout, t) for layout, t in zip(layouts, site.out_types, strict=True))
    memory.run(kernel.steps(site, ins, outs, given))
    return Pixels(memory, outs, site)


@dataclass(frozen=True)
class Pixels:
    """Results as they lie."""

    memory: Memory
    outs: tuple[View, ...]
    site: Site

    def values(self) -> list[np.ndarray]:
        """In float64."""
        batch = self.memory.emit.batch
        types = self.site.out_types
        return [self.memory.get(v, t.extents(batch)) for v, t in zip(self.outs, types, strict=True)]

    def pads(self) -> list[np.ndarray]:
        """What pads the pixels of each, in float64."""
        return [self.memory.pads(v, v.pitch) for v in self.outs if v.layout != PLAIN]
