"""`compile_graph`: an optimised graph becomes a Model."""

from __future__ import annotations

import warnings
from dataclasses import replace

from nbcnn.errors import OptionError
from nbcnn.ir.graph import Graph
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cpu import backend, kernels
from nbcnn.lower import assign, conversions, trial
from nbcnn.lower.model import Model
from nbcnn.lower.plan import kernel_specs, lower
from nbcnn.lower.select import REFERENCE, Choice, batch_axis, contests
from nbcnn.lower.stopwatch import Progress
from nbcnn.lower.taps import add_taps
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache
from nbcnn.runtime.program import Program
from nbcnn.runtime.threads import default_threads
from nbcnn.target import Target, detect


def compile_graph(
    graph: Graph,
    options: CompileOptions,
    progress: Progress | None = None,
    target: Target | None = None,
) -> Model:
    """Choose kernels for ``graph``, compile what is not cached and plan the batch sizes 1 and 2.

    Batch 2 stands for all larger ones: what it needs is compiled now, so that no later batch size
    has to wait for a compiler. ``target`` is the machine to generate code for (None: this one).
    Raises OptionError for symbolic extents other than the batch.
    """
    check_bound(graph)
    if options.precision != "float32":
        raise OptionError(f"precision '{options.precision}' needs target 'cuda'; the CPU computes in float32")
    target = target or detect()
    threads = options.threads or default_threads()
    options = replace(options, threads=threads)
    rivals = trial.measure(contests(graph, kernels(), target, options), target, options, progress)
    conversion = conversions.seconds(rivals, target, options)
    choices = add_taps(graph, assign.assign(rivals, conversion), kernels(), target, options)
    warn_of_references(choices)
    store = Store()

    def emit(batch: int) -> Emit:
        return Emit(batch, target, options, store, backend())

    sizes = planned_sizes(graph)
    specs = {spec: None for size in sizes for spec in kernel_specs(graph, choices, emit(size))}
    codecache.warm([(spec, target) for spec in specs], progress)
    program = Program(lambda batch: lower(graph, choices, emit(batch)), threads)
    return Model(graph, choices, program, sizes[0], threads, target)


def check_bound(graph: Graph) -> None:
    """Raise OptionError for symbolic extents other than the batch."""
    if unbound := graph.symbols - {"N"}:
        name = min(unbound)
        raise OptionError(
            f"extent '{name}' of graph '{graph.name}' is not bound: give shapes={{'{name}': ...}}"
        )


def planned_sizes(graph: Graph) -> tuple[int, ...]:
    """The batch sizes whose kernels are compiled at once; the first is planned, too."""
    leading = batch_axis(graph)
    return (leading,) if isinstance(leading, int) else (1, 2)


def warn_of_references(choices: list[Choice]) -> None:
    """Tell of the nodes that no kernel serves."""
    slow = [f"{c.site.name} ({c.site.op.name})" for c in choices if c.kernel is REFERENCE]
    if slow:
        warnings.warn(
            f"no kernel yet for {', '.join(slow[:5])}{' ...' if len(slow) > 5 else ''}: "
            "computed by the NumPy reference, which is slow",
            stacklevel=5,  # the caller of nbcnn.compile
        )
