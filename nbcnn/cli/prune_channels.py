"""``nbcnn prune --channels`` and ``--macs``: a smaller dense model, and what is left of each group."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.ir import Graph
    from nbcnn.passes.prune_report import Group

OPTIONS = {"channels": "ratio", "macs": "macs"}
"""What asks for it, by the names of the pass."""

SHARED = ("criterion", "distribution", "keep", "round_to")


def pruned(graph: Graph, options: dict[str, Any], json: bool) -> Graph:
    """``graph`` with fewer channels, after printing what went; ``options`` are those given to the verb."""
    import typer

    from nbcnn.errors import OptionError
    from nbcnn.passes import Pipeline, run
    from nbcnn.passes.prune_channels import PruneChannels
    from nbcnn.passes.prune_report import groups

    way, *others = [name for name in options if name in OPTIONS]
    for other in (*others, *(name for name in options if name not in (*OPTIONS, *SHARED))):
        raise OptionError(f"--{way} and --{other} exclude each other")
    pipeline = Pipeline.of(PruneChannels.of({OPTIONS.get(name, name): v for name, v in options.items()}))
    report = run(graph, pipeline)
    refused = {refusal.node: refusal.why for record in report.records for refusal in record.refusals}
    found = groups(graph, report.graph, refused)
    before, after = report.records[0].before, report.records[-1].after
    totals = (before.parameters, after.parameters, before.macs, after.macs)
    if json:
        typer.echo(_json(graph.name, str(pipeline), found, totals))
    else:
        from nbcnn.cli import tables

        tables.console().print(_table(f"{graph.name}: {pipeline}", found, totals))
    return report.graph


Totals = tuple[int, int, int | None, int | None]
"""Parameters and MACs of the whole model, before and after each."""


def _table(title: str, found: list[Group], totals: Totals) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    numbers = ("channels", "left", "parameters", "params left", "MACs", "MACs left")
    table = tables.table("layers", *numbers, "why", right=numbers, title=title, footer=True)
    for group in found:
        first, *others = group.layers
        more = f" and {len(others)} more" if others else ""
        figures = (group.parameters, group.parameters_left, group.macs, group.macs_left)
        table.add_row(
            escape(first + more),
            f"{group.channels:,}",
            f"{group.channels_left:,}",
            *map(_number, figures),
            escape(group.why),
        )
    footers = ["whole model", "", "", *map(_number, totals), _shares(totals)]
    for column, text in zip(table.columns, footers, strict=True):
        column.footer = text
    return table


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _shares(totals: Totals) -> str:
    parameters, parameters_left, macs, macs_left = totals
    text = f"{parameters_left / max(parameters, 1):.1%} of the parameters stay"
    if macs is not None and macs_left is not None:
        text += f", {macs_left / max(macs, 1):.1%} of the MACs"
    return text


def _json(name: str, spec: str, found: list[Group], totals: Totals) -> str:
    import json

    keys = ("parameters", "parameters_left", "macs", "macs_left")
    report = {"model": name, "passes": spec, "groups": [asdict(group) for group in found]}
    return json.dumps(report | dict(zip(keys, totals, strict=True)), indent=2)
