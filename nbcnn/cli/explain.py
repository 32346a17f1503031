"""``nbcnn explain``: why a pass left a node alone, what became of a node, which kernels run it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName, Passes, compiled, pipeline_options

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.lower.model import StepInfo
    from nbcnn.lower.select import Candidate


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
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain what the passes did to a node, and why not more.

    With --node, the runs of passes that touched it or nearly did; with --why-not too, the one reason.
    Without --node, all near misses (of the pass). With --kernels, the compiled program step by step.

    \b
    Example:
      nbcnn explain resnet50 --why-not fuse-conv-bn --node layer1.0.conv2
      nbcnn explain resnet50 --node layer1.0.relu
      nbcnn explain resnet50 --kernels
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
        steps = compiled(optimize(graph, pipeline), "none").explain()
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

    numbers = ("MACs", "bytes")
    table = tables.table("node", "op", "kernel", "layout", *numbers, "not taken", right=numbers)
    for step in steps:
        lost = [f"{c.kernel}: {c.reason or _time(c)}" for c in step.candidates]
        work = (tables.count(step.macs), tables.size(step.nbytes))
        taken = step.kernel if step.seconds is None else f"{step.kernel}\n{_time(step)}"
        table.add_row(escape(step.node), step.op, taken, step.layout, *work, escape("\n".join(_short(lost))))
    return table


def _time(taken: StepInfo | Candidate) -> str:
    """What a kernel was chosen or passed over for."""
    return f"{1e6 * (taken.seconds or 0):.1f} us {'measured' if taken.measured else 'estimated'}"


def _short(lost: list[str]) -> list[str]:
    """Times first; a reason that several kernels give, once."""
    groups: dict[str, list[str]] = {}
    for text in lost:
        kernel, _, reason = text.partition(": ")
        groups.setdefault(reason, []).append(kernel)
    found = [f"{', '.join(kernels)}: {reason}" for reason, kernels in groups.items()]
    return sorted(found, key=lambda line: not line.endswith(("estimated", "measured")))
