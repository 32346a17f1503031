"""``nbcnn bisect``: which pass, rewrite or kernel made the answer wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName, Passes, pipeline_options
from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from nbcnn.debug import Fault, Report, Tensor
    from nbcnn.ir.graph import Graph

FOUND = 1
"""Exit code when something is wrong."""

BEFORE, AFTER = 2, 8
"""How many tensors are printed before and after the first wrong one."""


def bisect(
    context: typer.Context,
    model: ModelName,
    passes: Passes = "default",
    input: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE", help="A .npy, .npz (by name) or image; else seeded noise."),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            min=0, help="Error allowed from end to end, of a tensor's largest element; else each contract."
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled/--no-compiled", help="Whether to judge the compiled program, too.")
    ] = True,
    shrink: Annotated[
        str | None,
        typer.Option("--shrink", metavar="OUT.yaml", help="Write a small model that still fails."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A safetensors file in place of the model's own weights."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores when not given.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every tensor's SQNR.")] = False,
) -> None:
    """Name the pass or kernel that makes the answer wrong.

    Every tensor is compared with the float64 reference, those inside fused nodes too: a pass is held
    to its contract, a kernel to its error bound on the operands it was given. Of a wrong pass the
    first rewrite and the first tensor over tolerance are named. Exit code 1 when something is wrong.
    Further options are those that the pipeline declares; they stand after MODEL.

    \b
    Example:
      nbcnn bisect resnet50 --passes default --input cat.jpg
      nbcnn bisect m.yaml --passes 'fuse-conv-bn, my.passes:Mine' --shrink s.yaml
    """
    from nbcnn import api, debug
    from nbcnn.debug import inputs
    from nbcnn.passes import Pipeline

    if shrink is not None:
        _check_name(shrink)
    graph = api.load(model, weights=weights)
    pipeline = Pipeline.of(passes, pipeline_options(context.args))
    arrays = inputs.read(input, graph) if input else None
    options: dict[str, Any] = {"rtol": rtol, "threads": threads}
    with bar(f"bisect {graph.name}") as progress:
        report = debug.bisect(
            graph,
            pipeline,
            arrays,
            compiled=compiled,
            progress=lambda what: progress(0, 1, what),
            **options,
        )
        small = None
        if shrink is not None and report.fault is not None:
            progress(0, 1, "shrinking")
            small = _shrunk(graph, report.fault, pipeline, arrays is not None, options)
            api.save(small, shrink)
    if json:
        typer.echo(_json(report, shrink if small else None))
    else:
        _print(report, compiled)
        if small is not None:
            typer.echo(f"\nshrunk to {len(small.nodes)} of {len(graph.nodes)} nodes: {shrink}")
    if report.fault is not None:
        raise typer.Exit(FOUND)


def _check_name(path: str) -> None:
    from nbcnn.errors import ModelFileError

    if Path(path).suffix not in (".yaml", ".yml"):
        raise ModelFileError("the name of a model file must end in .yaml", where=path)
    if not Path(path).absolute().parent.is_dir():
        raise ModelFileError("there is no such folder", where=path)


def _shrunk(graph: Graph, fault: Fault, passes: Any, given: bool, options: dict[str, Any]) -> Graph:
    from nbcnn.debug.shrink import same_fault, shrink
    from nbcnn.errors import InputError

    fails = same_fault(fault, passes, **options)
    if given and not fails(graph):
        raise InputError("--shrink works on seeded noise, with which this fault does not show")
    return shrink(graph, fails, near=fault.tensor.name if fault.tensor else "")


def _print(report: Report, compiled: bool) -> None:
    from nbcnn.cli import tables

    out = tables.console()
    numbers = ("rewrites", "tensors", "SQNR", "error / tolerance")
    table = tables.table(
        "pass", "contract", *numbers, "nearest to a fault", right=numbers, title=report.model
    )
    for done in report.passes:
        counts = tables.count(done.rewrites), tables.count(done.tensors)
        table.add_row(
            done.step, done.contract, *counts, *_figures(done.worst), done.note or _name(done.worst)
        )
    if compiled and (report.fault is None or report.fault.stage == "lowering"):
        worst = max(report.tensors, key=lambda t: t.excess, default=None)
        count = tables.count(len(report.tensors))
        table.add_row("compiled program", "error bounds", "", count, *_figures(worst), _name(worst))
    out.print(table)
    if report.fault is None:
        out.print("Nothing is wrong.")
    else:
        out.print(_fault_text(report.fault), markup=False)
        out.print(_spread(report.fault, report.tensors))


def _fault_text(fault: Fault) -> str:
    if fault.stage == "lowering":
        lines = [f"Wrong kernel: {fault.kernel}" + (f", node '{fault.node}'" if fault.node else "")]
    else:
        lines = [f"Wrong pass: number {fault.number}" + (f", {fault.step}" if fault.step else "")]
        if fault.rewrite is not None:
            what = f": {fault.rewrite.what}" if fault.rewrite.what else ""
            node = f" of '{fault.rewrite.node}'" if fault.rewrite.node else ""
            lines.append(f"  first wrong rewrite: {fault.rewrite.number}{node}{what}")
    lines.append(f"  {fault.why}")
    if fault.tensor is not None:
        place = ", ".join(map(str, fault.tensor.worst))
        lines.append(f"  SQNR {_decibel(fault.tensor)}; off by {fault.tensor.error:.3g} at [{place}]")
    return "\n".join(lines)


def _spread(fault: Fault, tensors: list[Tensor]) -> Any:
    """The SQNR of the first wrong tensor and its neighbours, and of the last one."""
    from rich.markup import escape

    from nbcnn.cli import tables

    names = [t.name for t in tensors]
    place = names.index(fault.tensor.name) if fault.tensor and fault.tensor.name in names else 0
    rows = tensors[max(place - BEFORE, 0) : place + AFTER + 1]
    title = "by itself, on the program's operands" if fault.stage == "lowering" else "from end to end"
    table = tables.table("tensor", "SQNR", "", right=("SQNR",), title=title)
    for row in rows if not tensors or tensors[-1] in rows else [*rows, tensors[-1]]:
        mark = "first wrong" if fault.tensor and row.name == fault.tensor.name else ""
        table.add_row(escape(row.name), _decibel(row), mark)
    return table if tensors else ""


def _figures(tensor: Tensor | None) -> tuple[str, str]:
    return (_decibel(tensor), f"{tensor.excess:.2g}") if tensor else ("", "")


def _name(tensor: Tensor | None) -> str:
    from rich.markup import escape

    return escape(tensor.name) if tensor else ""


def _decibel(tensor: Tensor) -> str:
    return "equal" if tensor.sqnr == float("inf") else f"{tensor.sqnr:.1f} dB"


def _json(report: Report, shrunk: str | None) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(_plain(asdict(report) | {"shrunk": shrunk}), indent=2, allow_nan=False)


def _plain(data: Any) -> Any:
    """``data`` as JSON can hold it: infinite numbers (an SQNR of equal tensors) are null."""
    import math

    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
