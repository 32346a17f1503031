"""`compile_graph`: an optimised graph becomes a Model."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from nbcnn.errors import OptionError
from nbcnn.ir.graph import Graph
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cpu import kernels
from nbcnn.lower.model import Model
from nbcnn.lower.plan import lower
from nbcnn.lower.select import REFERENCE, batch_axis, select
from nbcnn.options import CompileOptions
from nbcnn.runtime.program import Plan
from nbcnn.runtime.threads import default_threads
from nbcnn.target import detect

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) during long work."""


def compile_graph(graph: Graph, options: CompileOptions, progress: Progress | None = None) -> Model:
    """Choose kernels for ``graph``, compile what is not cached and plan batch 1.

    Raises OptionError for symbolic extents other than the batch.
    """
    if unbound := graph.symbols - {"N"}:
        name = min(unbound)
        raise OptionError(
            f"extent '{name}' of graph '{graph.name}' is not bound: give shapes={{'{name}': ...}}"
        )
    target = detect()
    choices = select(graph, kernels(), target, options)
    slow = [f"{c.site.name} ({c.site.op.name})" for c in choices if c.kernel is REFERENCE]
    if slow:
        warnings.warn(
            f"no kernel yet for {', '.join(slow[:5])}{' ...' if len(slow) > 5 else ''}: "
            "computed by the NumPy reference, which is slow",
            stacklevel=3,
        )
    store = Store()
    leading = batch_axis(graph)

    def plan(batch: int) -> Plan:
        return lower(graph, choices, Emit(batch, target, options, store))

    first = leading if isinstance(leading, int) else 1
    return Model(graph, choices, plan, first, options.threads or default_threads(), target, store)
