"""``nbcnn optimize``: a model through a pipeline, with a report of what each pass did."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName, Passes, pipeline_options

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.debug.verify import Verdict
    from nbcnn.ir.graph import Graph
    from nbcnn.passes import Hook, Record, Report
    from nbcnn.passes.runner import Size


def optimize(
    context: typer.Context,
    model: ModelName,
    passes: Passes = "default",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the result: .yaml or .onnx.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold each pass to its contract, by the float64 reference.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what each pass changed, line by line.")] = False,
    time_passes: Annotated[bool, typer.Option("--time-passes", help="Print each pass's seconds.")] = False,
    dump: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the graph after each pass to this folder.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after this many rewrites.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run a pipeline of passes on a model and tell what each did.

    Prints nodes, parameters, multiply-accumulates and bytes before and after each pass (batch 1), its
    rewrites, and near misses: places that nearly matched, with the reason. Further options are those
    that the pipeline declares, such as --sparsity 0.8; they stand after MODEL.

    \b
    Example:
      nbcnn optimize resnet50 -o small.yaml --verify
      nbcnn optimize resnet50 --passes "fuse-conv-bn, fuse-activation" --diff
    """
    from nbcnn import api
    from nbcnn.passes import Pipeline, run

    pipeline = Pipeline.of(passes, pipeline_options(context.args))
    graph = api.load(model)
    hooks: list[Hook] = []
    verifier, differences = None, []
    if verify:
        from nbcnn.debug.verify import Verifier

        hooks.append(verifier := Verifier(graph))
    if diff:
        from nbcnn.ir import text

        hooks.append(lambda record, before, after: differences.append(text.diff(before, after)))
    if dump:
        numbers = count()
        _write(dump, next(numbers), "start", graph)
        hooks.append(lambda record, before, after: _write(dump, next(numbers), record.step.name, after))
    report = run(graph, pipeline, limit=limit, hooks=hooks)
    verdicts = verifier.verdicts if verifier else []
    if json:
        typer.echo(_json(report, verdicts, differences))
    else:
        _print(graph, report, verdicts, differences, time_passes)
    if verifier:
        verifier.check()
    if out:
        (api.to_onnx if out.suffix == ".onnx" else api.save)(report.graph, out)


def _write(folder: Path, number: int, name: str, graph: Graph) -> None:
    """``NN-pass.txt`` and ``NN-pass.yaml``: the text of the graph, and a model file without weights."""
    from nbcnn.errors import OptionError
    from nbcnn.frontends import yaml_writer
    from nbcnn.ir import text

    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:02}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"
        path.with_name(f"{path.name}.txt").write_text(text.dump(graph), encoding="utf-8")
        path.with_name(f"{path.name}.yaml").write_text(yaml_writer.dump(graph), encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--dump {folder}: {error.strerror}") from None


def _print(
    graph: Graph, report: Report, verdicts: list[Verdict], differences: list[str], seconds: bool
) -> None:
    from nbcnn.cli import tables

    out = tables.console()
    out.print(_table(graph, report, verdicts, seconds))
    for number, record in enumerate(report.records, 1):
        changes = collapsed((r.node, r.what) for r in record.rewrites)
        misses = collapsed((r.node, r.why) for r in record.refusals)
        if changes or misses:
            out.print(f"{number} {record.step}", style="bold", markup=False)
        for line in (*changes, *(f"near miss: {m}" for m in misses)):
            out.print(f"    {line}", markup=False)
        if differences and differences[number - 1]:
            for line in differences[number - 1].splitlines():
                style = {"-": "red", "+": "green"}.get(line[0])
                out.print(f"    {line}", markup=False, style=style, soft_wrap=True)
    for group in report.unsettled:
        names = ", ".join(str(step) for step in group.passes)
        out.print(f"still changing after {group.max} rounds: {names}", markup=False)


def _table(graph: Graph, report: Report, verdicts: list[Verdict], seconds: bool) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    numbers = ["nodes", "parameters", "MACs", "bytes", "rewrites", "near misses"]
    numbers += ["seconds"] if seconds else []
    title = f"{graph.name}: {report.rewrites} rewrites"
    extra = ["verified"] if verdicts else []
    table = tables.table("", "pass", *numbers, *extra, right=("", *numbers), title=title)
    for number, record in enumerate(report.records, 1):
        row = [str(number), escape(str(record.step)), *_sizes(record.before, record.after)]
        row += [tables.count(len(record.rewrites)), tables.count(len(record.refusals))]
        row += [f"{record.seconds:.3f}"] if seconds else []
        if verdicts:
            verdict = verdicts[number - 1]
            row.append(escape(("" if verdict.right else "WRONG: ") + verdict.note))
        table.add_row(*row)
    return table


def _sizes(before: Size, after: Size) -> list[str]:
    from nbcnn.cli import tables

    def cell(old: int | None, new: int | None, show: Any) -> str:
        if old is None or new is None:
            return "?"
        return f"{show(old)} -> {show(new)}" if old != new else show(new)

    whole = "{:,}".format
    return [
        cell(before.nodes, after.nodes, whole),
        cell(before.parameters, after.parameters, whole),
        cell(before.macs, after.macs, whole),
        cell(before.nbytes, after.nbytes, tables.size),
    ]


def collapsed(found: Iterable[tuple[str, str]], shown: int = 3) -> list[str]:
    """``node: what``; of many that differ in names and numbers alone, the first few and how many more."""
    groups: dict[str, list[str]] = {}
    for node, what in found:
        groups.setdefault(re.sub(r"'[^']*'|\d+(\.\d+)?", "#", what), []).append(f"{node}: {what}")
    lines = []
    for group in groups.values():
        most = shown if len(group) > shown + 1 else len(group)
        lines += group[:most]
        lines += [f"... and {len(group) - most} more like these"] if len(group) > most else []
    return lines


def _json(report: Report, verdicts: list[Verdict], differences: list[str]) -> str:
    import json
    from dataclasses import asdict

    def entry(index: int, record: Record) -> dict[str, Any]:
        found = {
            "pass": str(record.step),
            "contract": str(record.step.contract),
            "before": asdict(record.before),
            "after": asdict(record.after),
            "seconds": record.seconds,
            "rewrites": [asdict(r) for r in record.rewrites],
            "near_misses": [asdict(r) for r in record.refusals],
            "gone": list(record.gone),
        }
        if verdicts:
            found["verified"] = {"right": verdicts[index].right, "note": verdicts[index].note}
        if differences:
            found["diff"] = differences[index]
        return found

    records = [entry(i, r) for i, r in enumerate(report.records)]
    return json.dumps({"model": report.graph.name, "passes": records}, indent=2)
