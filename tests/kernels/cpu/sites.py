"""Holds the kernel of one operator to the float64 reference: every lane width, batches, threads."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from conformance import excesses, inputs_of

from nbcnn.ir import Graph
from nbcnn.lower.build import compile_graph
from nbcnn.options import CompileOptions
from nbcnn.target import detect

LANES = (16, 8, 4)


def compiled(graph: Graph, lanes: int, threads: int = 1):
    """``graph`` as it stands, for a machine of ``lanes`` lanes."""
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of operators without a kernel: `families` tells
        return compile_graph(graph, CompileOptions(threads=threads, keep_values=True), target=target)


def families(model, batch: int = 1) -> list[str]:
    """The kernel family of every step."""
    return [row.family for row in model.explain(batch)]


def check(graph: Graph, *absent: str, lanes: tuple[int, ...] = LANES) -> None:
    """Right within its bound, the same bits for 1 and 2 threads, and no step of a family in ``absent``.

    The reference is always absent.
    """
    for width in lanes:
        models = [compiled(graph, width, threads) for threads in (1, 2)]
        for batch in (1, 3):
            inputs = inputs_of(graph, batch)
            wrong = {k: e for k, e in excesses(models[0], inputs).items() if not e <= 1}
            assert not wrong, f"{width} lanes, batch {batch}: times over the bound: {wrong}"
            one, two = (model.tap(**inputs) for model in models)
            for name, value in one.items():
                np.testing.assert_array_equal(two[name], value, err_msg=name)
            found = families(models[0], batch)
            assert not {"reference", *absent} & set(found), found
