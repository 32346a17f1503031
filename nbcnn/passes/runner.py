"""Running a pipeline: every pass on a working copy, checked after it, with a record of what it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nbcnn.errors import ModelFileError, NbcnnError, OptionError, PassError
from nbcnn.ir import BATCH, Graph, Rewriter
from nbcnn.ir import verify as check
from nbcnn.ir.rewriter import Refusal, Rewrite
from nbcnn.passes.base import Pass
from nbcnn.passes.pipeline import Pipeline, Repeat, Step


@dataclass(frozen=True)
class Size:
    """How large a graph is.

    ``macs``, and ``nbytes`` that its nodes read and write, are those of batch 1; None while a height or width
    is a symbol.
    """

    nodes: int
    parameters: int
    macs: int | None
    nbytes: int | None

    @classmethod
    def of(cls, graph: Graph) -> Size:
        nodes = graph.nodes
        if graph.symbols - {BATCH}:
            return cls(len(nodes), graph.parameters, None, None)
        works = [graph.work(node) for node in nodes]
        macs, nbytes = sum(w.macs for w in works), sum(w.bytes_read + w.bytes_written for w in works)
        return cls(len(nodes), graph.parameters, macs, nbytes)


@dataclass(frozen=True)
class Record:
    """What one run of one pass did. ``gone`` lists values that no longer exist under any node."""

    step: Pass
    rewrites: tuple[Rewrite, ...]
    refusals: tuple[Refusal, ...]
    gone: tuple[str, ...]
    seconds: float
    before: Size
    after: Size


@dataclass
class Report:
    """A pipeline's result: the graph, and a record per pass run.

    ``unsettled`` holds the fixpoint groups that still changed something when their ``max`` was up.
    """

    graph: Graph
    records: list[Record] = field(default_factory=list)
    unsettled: list[Repeat] = field(default_factory=list)

    @property
    def rewrites(self) -> int:
        """The number of rewrites of all passes: what ``limit`` counts."""
        return sum(len(record.rewrites) for record in self.records)


Hook = Callable[[Record, Graph, Graph], None]
"""Called after each pass with its record and the graph before and after it."""

Progress = Callable[[int, int, str], None]
"""Called before each step with the steps done, the steps in all, and the name of what runs now."""


def run(
    graph: Graph,
    passes: Any = "default",
    *,
    limit: int | None = None,
    verify: bool = True,
    hooks: Iterable[Hook] = (),
    progress: Progress | None = None,
) -> Report:
    """Run a pipeline (anything that `Pipeline.of` takes) on ``graph``, which stays as it is.

    ``limit`` stops after that many rewrites in all. The structure is verified after every pass that changed
    something; a failure is a PassError that names the pass.
    """
    pipeline = Pipeline.of(passes)
    if verify:
        check(graph)  # so that no pass is blamed for what was broken before
    runner = _Runner(Report(graph), limit, verify, tuple(hooks))
    for done, step in enumerate(pipeline.steps):
        if progress:
            progress(done, len(pipeline.steps), "repeat" if isinstance(step, Repeat) else step.name)
        runner.step(step)
    return runner.report


def optimize(
    graph: Graph,
    passes: Any = "default",
    *,
    limit: int | None = None,
    verify: bool = True,
    hooks: Iterable[Hook] = (),
    progress: Progress | None = None,
) -> Graph:
    """The graph that `run` makes."""
    return run(graph, passes, limit=limit, verify=verify, hooks=hooks, progress=progress).graph


@dataclass
class _Runner:
    report: Report
    limit: int | None
    verify: bool
    hooks: tuple[Hook, ...]

    def __post_init__(self) -> None:
        self.size = Size.of(self.report.graph)

    def step(self, step: Step) -> bool:
        """Run a pass or a group; whether it changed the graph."""
        if isinstance(step, Pass):
            return self.one(step)
        for number in range(step.max):
            changed = [self.step(inner) for inner in step.passes]
            if not any(changed):
                return number > 0
        self.report.unsettled.append(step)
        return True

    def one(self, pass_: Pass) -> bool:
        before = self.report.graph
        left = None if self.limit is None else self.limit - self.report.rewrites
        if left == 0:
            return False
        start = time.perf_counter()
        rewriter = Rewriter(before, left)
        with _blame(pass_):
            pass_.run(rewriter)
            # Without an edit the graph stays the very same object: nothing downstream need be redone.
            after = rewriter.graph if rewriter.changed else before
            if self.verify and rewriter.changed:
                check(after)
        record = Record(
            pass_,
            tuple(rewriter.rewrites),
            tuple(rewriter.refusals),
            tuple(rewriter.gone),
            time.perf_counter() - start,
            self.size,
            Size.of(after) if rewriter.changed else self.size,
        )
        self.report.graph, self.size = after, record.after
        self.report.records.append(record)
        for hook in self.hooks:
            hook(record, before, after)
        return rewriter.changed


@contextmanager
def _blame(pass_: Pass) -> Iterator[None]:
    """Make an error say which pass it came from."""
    try:
        yield
    except (ModelFileError, OptionError):
        # Weights are read when a pass first asks for them, options may not fit the graph: not its fault.
        raise
    except NbcnnError as error:
        raise PassError(f"pass '{pass_.name}' broke the graph: {error}") from error
    except Exception as error:
        error.add_note(f"in pass '{pass_}'")
        raise
