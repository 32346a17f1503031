"""The targets that a graph can be compiled for, in one table."""

from __future__ import annotations

from importlib import import_module

from nbcnn.errors import OptionError, nearest
from nbcnn.ir.graph import Graph
from nbcnn.lower.model import Model
from nbcnn.lower.stopwatch import Progress
from nbcnn.options import CompileOptions

TARGETS = {"cpu": "nbcnn.lower.build", "cuda": "nbcnn.lower.device_build"}
"""Target -> the module whose ``compile_graph`` serves it."""


def check(target: str) -> None:
    """Raise OptionError for a target that does not exist."""
    if target not in TARGETS:
        raise OptionError(f"unknown target '{target}'{nearest(str(target), TARGETS)}")


def compile_graph(
    graph: Graph, target: str, options: CompileOptions, progress: Progress | None = None
) -> Model:
    """An optimised graph compiled for ``target``; see the ``compile_graph`` of its module."""
    check(target)
    return import_module(TARGETS[target]).compile_graph(graph, options, progress)
