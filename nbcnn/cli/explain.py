"""``nbcnn explain``: why a pass left a node alone, what became of a node, which kernels run it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName, Passes, Precision, Target, Tune, compiled, pipeline_options

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.lower.model import StepInfo
    from nbcnn.lower.select import Candidate

FASTEST = 4
"""Of the kernels that were not taken, so many are listed by their time."""


def explain(
    context: typer.Context,
    model: ModelName,
    passes: Passes = "default",
    why_not: Annotated[
        str | None, typer.Option("--why-not", metavar="PASS", help="Why this pass left nodes alone.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="A node of the model.")] = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Compile, and list each step's kernel and those that lost.")
    ] = False,
    target: Target = "cpu",
    precision: Precision = "float32",
    tune: Tune = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain what the passes did to a node, and why not more.

    With --node, the runs of passes that touched it or nearly did; with --why-not too, the one reason.
    Without --node, all near misses (of the pass). With --kernels, the compiled program step by step: what
    each kernel was chosen for in microseconds, the fastest others, and why their rivals cannot serve.

    \b
    Example:
      nbcnn explain resnet50 --why-not fuse-conv-bn --node layer1.0.conv2
      nbcnn explain resnet50 --node layer1.0.relu
      nbcnn explain resnet50 --kernels --tune
      nbcnn explain resnet50 --kernels --target cuda --precision float16
    """
    from nbcnn import api
    from nbcnn.debug import explain as debug
    from nbcnn.passes import Pipeline, get, optimize, run

    pipeline = Pipeline.of(passes, pipeline_options(context.args))
    if why_not:
        get(why_not.partition("{")[0])  # a wrong name before the model is loaded
    graph = api.load(model)
    found: Any
    if kernels:
        program = compiled(optimize(graph, pipeline), "none", target, precision=precision, tune=tune)
        steps = program.explain()
        steps = [s for s in steps if node in (None, s.node)]
        return _show(json, [asdict(s) for s in steps], _kernels(steps))
    if node and why_not:
        found = debug.why_not(graph, pipeline, why_not, node)
        return _show(json, found, "\n".join(found))
    if node:
        visits = [v for v in debug.fate(graph, pipeline, node) if v.touched or v.refusals]
        lines = [f"{v.number} {v.step}: {line}" for v in visits for line in _events(v)]
        return _show(json, [asdict(v) for v in visits], "\n".join(lines) or f"no pass touched '{node}'")
    misses = debug.near_misses(run(graph, pipeline).records, why_not)
    lines = dict.fromkeys(f"{m.step} at '{m.node}': {m.why}" for m in misses)
    _show(json, [asdict(m) for m in misses], "\n".join(lines) or "no near misses")


def _events(visit: Any) -> list[str]:
    events = [f"near miss at {text}" for text in visit.refusals] + list(visit.rewrites)
    return events + ([f"{visit.before} -> {visit.after}"] if visit.before != visit.after else [])


def _show(json: bool, data: Any, shown: str | Table) -> None:
    from nbcnn.cli import tables

    if json:
        from json import dumps

        typer.echo(dumps(data, indent=2, default=str))
    elif isinstance(shown, str):
        typer.echo(shown)
    else:
        tables.console().print(shown)


def _kernels(steps: list[StepInfo]) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    numbers = ("us", "MACs", "bytes")
    table = tables.table("node", "op", "kernel", "us", "layout", *numbers[1:], "not taken", right=numbers)
    rivals = _rivals(steps)
    for step in steps:
        function = step.kernel.partition("__")[0]  # all are for the same instruction set
        kernel = function if step.op == "layout" else f"{step.family}\n{function}"
        kernel += f"\n{step.strips}" if step.strips else ""
        work = (tables.count(step.macs), tables.size(step.nbytes))
        lost = "\n".join(_lost(step, rivals.get(_name(step.family), set())))
        table.add_row(
            escape(step.node), step.op, escape(kernel), _time(step), step.layout, *work, escape(lost)
        )
    return table


def _time(step: StepInfo) -> str:
    """What a kernel was chosen for."""
    if step.seconds is None:
        return ""
    return f"{1e6 * step.seconds:.1f}\n{'measured' if step.measured else 'estimated'}"


def _name(kernel: str) -> str:
    """The name of a kernel, without what sets a variant of it apart."""
    return kernel.partition("[")[0]


def _rivals(steps: list[StepInfo]) -> dict[str, set[str]]:
    """By kernel those that serve some node that it could serve too, and theirs."""
    groups: list[set[str]] = []
    for step in steps:
        group = {_name(step.family), *(_name(c.kernel) for c in step.candidates if c.reason is None)}
        near = [other for other in groups if other & group]
        groups = [other for other in groups if not other & group] + [group.union(*near)]
    return {name: group for group in groups for name in group}


def _lost(step: StepInfo, rivals: set[str]) -> list[str]:
    """The fastest kernels that were not taken, then why the other rivals cannot serve, each reason once."""
    served = (c for c in step.candidates if c.reason is None)
    timed = sorted(served, key=lambda c: (not c.measured, c.seconds or 0))
    lines = [_passed_over(c) for c in timed[:FASTEST]]
    if more := timed[FASTEST:]:
        lines.append(f"and {len(more)} slower")
    reasons: dict[str, list[str]] = {}
    for candidate in step.candidates:
        if candidate.reason and _name(candidate.kernel) in rivals:
            reasons.setdefault(candidate.reason, []).append(candidate.kernel)
    return lines + [f"{', '.join(kernels)}: {reason}" for reason, kernels in reasons.items()]


def _passed_over(candidate: Candidate) -> str:
    how = "" if candidate.measured else " estimated"
    return f"{candidate.kernel} {1e6 * (candidate.seconds or 0):.1f}{how}"
