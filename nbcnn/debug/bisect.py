"""Which pass, and in it which rewrite, made the answer wrong; or else which kernel.

Each pass is held to its contract by `nbcnn.debug.compare`, every value that it keeps and not the results
alone: EXACT passes bit by bit, others up to the rounding of the weights they make, LOSSY ones by their
metric (`METRICS`). With ``rtol`` the pipeline so far is compared with the original graph from end to end
instead. When all passes are right, the compiled program is judged node by node (`nbcnn.debug.program`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from nbcnn import reference
from nbcnn.debug import inputs as noise
from nbcnn.debug import program
from nbcnn.debug.compare import Tensor, differences
from nbcnn.debug.inputs import Inputs
from nbcnn.errors import PassError
from nbcnn.ir import Graph
from nbcnn.ir.rewriter import Rewrite
from nbcnn.lower.build import compile_graph
from nbcnn.lower.model import Model
from nbcnn.options import CompileOptions
from nbcnn.passes import Pipeline, run
from nbcnn.passes.base import EXACT, Lossy
from nbcnn.passes.runner import Record


@dataclass(frozen=True)
class PassRun:
    """One run of one pass: how many rewrites, how many tensors were compared, the one nearest to a fault."""

    number: int
    step: str
    contract: str
    rewrites: int
    tensors: int = 0
    worst: Tensor | None = None
    note: str = ""


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong.

    ``stage`` is "pass" (then ``step`` and ``rewrite`` say which) or "lowering" (then ``kernel`` does).
    ``node`` makes ``tensor``, the first value over its tolerance; both are missing when a pass broke the
    structure.
    """

    stage: str
    why: str
    number: int = 0
    step: str = ""
    rewrite: Rewrite | None = None
    node: str = ""
    kernel: str = ""
    tensor: Tensor | None = None


@dataclass
class Report:
    """What was looked at, and the first fault.

    ``tensors`` goes with the fault: after a wrong pass every value before and after it from end to end, which
    shows how the error spreads; else the values of the program, each judged by itself.
    """

    model: str
    passes: list[PassRun] = field(default_factory=list)
    fault: Fault | None = None
    tensors: list[Tensor] = field(default_factory=list)


def _output_error(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
    """The largest norm of the difference of a result over the norm of the result."""
    ratios = [np.linalg.norm(after[k] - a) / max(np.linalg.norm(a), 1e-300) for k, a in before.items()]
    return float(max(ratios))


METRICS: dict[str, Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], float]] = {
    "output_error": _output_error
}
"""What can be judged from the results before and after alone: no labelled data, no weights."""

Progress = Callable[[str], None]
"""Called with what is being looked at."""


def bisect(
    graph: Graph,
    passes: Any = "default",
    inputs: Inputs | None = None,
    *,
    rtol: float | None = None,
    compiled: bool = True,
    threads: int | None = None,
    trace: bool = True,
    progress: Progress = lambda what: None,
) -> Report:
    """Find the first fault of ``passes`` on ``graph``, or of the program compiled from the result.

    ``inputs`` are seeded noise when not given. Without ``trace`` a fault comes without ``tensors``: quicker.
    """
    pipeline = Pipeline.of(passes)
    arrays = noise.seeded(graph) if inputs is None else reference.bind_inputs(graph, inputs)
    return _Bisection(graph, arrays, rtol, trace, threads, progress).run(pipeline, compiled)


class _Found(Exception):
    """Ends the run of the pipeline: the report holds the fault."""


@dataclass
class _Bisection:
    graph: Graph
    inputs: Inputs
    rtol: float | None
    trace: bool
    threads: int | None
    progress: Progress

    def run(self, pipeline: Pipeline, compiled: bool) -> Report:
        self.report = Report(self.graph.name)
        try:
            final = run(self.graph, pipeline, hooks=[self._look]).graph
            if compiled:
                self._look_at_program(final)
        except _Found:
            pass
        except PassError as error:
            self.report.fault = self._broken(pipeline, error)
        return self.report

    # -- passes ----------------------------------------------------------------------------------

    def _look(self, record: Record, before: Graph, after: Graph) -> None:
        number, step = len(self.report.passes) + 1, record.step
        done = PassRun(number, str(step), str(step.contract), len(record.rewrites))
        if before is after:
            self.report.passes.append(done)
            return
        self.progress(str(step))
        start = before if self.rtol is None else self.graph
        rule = {"exact": step.contract == EXACT, "rtol": self.rtol}
        if self.rtol is None and isinstance(step.contract, Lossy):
            return self._look_at_lossy(done, record, before, after)
        seen: list[Tensor] = []
        for tensor in differences(start, after, self.inputs, **rule):
            seen.append(tensor)
            if not tensor.right:
                break
        worst = max(seen, key=lambda t: t.excess, default=None)
        self.report.passes.append(_with(done, seen, worst))
        if worst is None or worst.right:
            return
        name = worst.name

        def wrong(limit: int) -> bool:
            part = run(before, [step], limit=limit, verify=False).graph
            return any(not t.right for t in differences(start, part, self.inputs, only={name}, **rule))

        first = _first(wrong, len(record.rewrites))
        self._fault(record, number, record.rewrites[first - 1], _maker(after, name), worst, before, after)

    def _look_at_lossy(self, done: PassRun, record: Record, before: Graph, after: Graph) -> None:
        """A lossy pass promises a metric of the results, and says nothing of inner values."""
        contract = record.step.contract
        assert isinstance(contract, Lossy)
        metric = METRICS.get(contract.metric)
        if metric is None:
            note = f"not judged: {contract.metric} cannot be told from the results"
            self.report.passes.append(_with(done, [], None, note))
            return
        results = [reference.run(g, self.inputs, np.float64) for g in (before, after)]
        loss = metric(*results)
        note = f"{contract.metric} {loss:.3g}, promised {contract.bound:.3g}"
        self.report.passes.append(_with(done, [], None, note))
        if not loss <= contract.bound:

            def wrong(limit: int) -> bool:
                part = run(before, [record.step], limit=limit, verify=False).graph
                return not metric(results[0], reference.run(part, self.inputs, np.float64)) <= contract.bound

            rewrite = record.rewrites[_first(wrong, len(record.rewrites)) - 1]
            output = next(iter(after.outputs))
            spread = differences(before, after, self.inputs, rtol=contract.bound, only={output})
            tensor = next(spread, None)
            self._fault(record, done.number, rewrite, rewrite.node, tensor, before, after, note)

    def _fault(
        self,
        record: Record,
        number: int,
        rewrite: Rewrite,
        node: str,
        tensor: Tensor | None,
        before: Graph,
        after: Graph,
        why: str = "",
    ) -> None:
        why = why or f"'{tensor.name if tensor else ''}' {self._tolerance(str(record.step.contract))}"
        self.report.fault = Fault("pass", why, number, str(record.step), rewrite, node, tensor=tensor)
        if self.trace:
            self.progress("how the error spreads")
            start = before if self.rtol is None else self.graph
            rtol = math.inf if self.rtol is None else self.rtol
            self.report.tensors = list(differences(start, after, self.inputs, rtol=rtol))
        raise _Found

    def _tolerance(self, contract: str) -> str:
        if self.rtol is not None:
            return f"is off by more than {self.rtol:g} of its largest element"
        changed = (
            "is not the same bit by bit" if contract == "exact" else "is off by more than rounding explains"
        )
        return f"{changed} (contract: {contract})"

    def _broken(self, pipeline: Pipeline, error: PassError) -> Fault:
        """The fault of a pass that left an unsound graph or refused to go on."""

        def breaks(limit: int) -> bool:
            try:
                run(self.graph, pipeline, limit=limit)
            except PassError:
                return True
            return False

        most = 1
        while not breaks(most):
            if run(self.graph, pipeline, limit=most).rewrites < most:
                raise error  # the rewrites are all right: a pass gave up for another reason
            most *= 2
        first = _first(breaks, most)
        done = run(self.graph, pipeline, limit=first - 1).rewrites
        number = len(self.report.passes) + 1
        return Fault("pass", str(error), number, rewrite=Rewrite(done + 1, error.node or "", ""))

    # -- the program -----------------------------------------------------------------------------

    def _look_at_program(self, graph: Graph) -> None:
        options = CompileOptions(threads=self.threads)

        @lru_cache(2)  # the plain program and the latest one with taps
        def compile_(taps: tuple[str, ...]) -> Model:
            return compile_graph(graph, replace(options, taps=taps))

        def with_taps(taps: Iterable[str]) -> Model:
            return compile_(tuple(taps))

        self.progress("the compiled program")
        for choice, tensor in program.nodes(with_taps, graph, self.inputs, self.rtol):
            self.report.tensors.append(tensor)
            if not tensor.right:
                parts = program.inside(with_taps, graph, choice, self.inputs, self.rtol)
                choice, tensor = next((p for p in parts if not p[1].right), (choice, tensor))
                self.report.tensors[-1:] = [t for _, t in parts]
                bound = "its error bound" if self.rtol is None else f"{self.rtol:g} of its largest element"
                why = f"'{tensor.name}' is off by more than {bound}, on the operands the program computed"
                kernels = {row.node: row.kernel for row in with_taps(()).explain() if row.op != "layout"}
                node = _maker(graph, tensor.name) or choice.site.name
                kernel = kernels.get(node, choice.kernel.name)
                self.report.fault = Fault("lowering", why, node=node, kernel=kernel, tensor=tensor)
                return
        kept = compile_graph(graph, replace(options, keep_values=True))
        for tensor in program.results(compile_(()), kept, self.inputs):
            if not tensor.right:
                why = f"result '{tensor.name}' is another when no memory is shared: values overlap"
                self.report.fault = Fault("lowering", why, kernel="memory plan", tensor=tensor)
                return


def _with(done: PassRun, seen: list[Tensor], worst: Tensor | None, note: str = "") -> PassRun:
    return PassRun(done.number, done.step, done.contract, done.rewrites, len(seen), worst, note)


def _first(wrong: Callable[[int], bool], most: int) -> int:
    """The smallest number in 1..``most`` for which ``wrong`` holds, given that it holds for ``most``."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wrong(middle) else (middle, high)
    return high


def _maker(graph: Graph, value: str) -> str:
    """The node of ``graph`` that makes ``value``, also inside its body, or the result of this name."""
    value = graph.outputs.get(value, value)
    for node in graph.nodes:
        body = getattr(node.op, "body", None)
        if value in node.outputs or (body and any(value in n.outputs for n in body.nodes)):
            return node.name
    return ""
