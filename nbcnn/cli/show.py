"""``nbcnn show``: a model layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nbcnn.cli.common import ModelName, Passes, compiled

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.ir.graph import Graph


def show(
    model: ModelName,
    passes: Passes = "none",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile what is shown, and print the memory of the program.")
    ] = False,
) -> None:
    """Print a model layer by layer.

    Output shape, parameters, multiply-accumulates and bytes of each layer for batch 1, and the
    totals. The model is shown as it was written, or as --passes leave it.

    \b
    Example:
      nbcnn show resnet50
      nbcnn show resnet50 --passes default --compile
    """
    from nbcnn import api
    from nbcnn.cli import tables
    from nbcnn.ir import summary

    graph = api.optimize(api.load(model), passes)
    out = tables.console()
    out.print(_layers(graph))
    out.print(f"peak of the values alive at once, layer by layer: {tables.size(summary.peak_bytes(graph))}")
    if compile:
        memory = compiled(graph, "none").memory()
        alive, arena = tables.size(memory.live_peak), tables.size(memory.arena)
        inside = f"scratch {tables.size(memory.scratch)}, conversions {tables.size(memory.conversions)}"
        shared = f"tables {tables.size(memory.tables)}, weights {tables.size(memory.weights)}"
        out.print(f"compiled: arena {arena} for {alive} alive at once ({inside}); shared: {shared}")


def _layers(graph: Graph) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables
    from nbcnn.ir import summary

    rows = summary.layers(graph)
    numbers = ("parameters", "MACs", "activations")
    inputs = ", ".join(f"{name} {tables.shape(type_)}" for name, type_ in graph.inputs.items())
    title = f"{graph.name}: {inputs}"
    table = tables.table("layer", "op", "output", *numbers, right=numbers, title=title, footer=True)
    for row in rows:
        table.add_row(
            escape(row.name),
            row.op,
            ", ".join(map(tables.shape, row.outputs)),
            tables.count(row.parameters),
            tables.count(row.macs),
            tables.size(row.activation_bytes),
        )
    totals = {
        "layer": f"{len(rows)} layers",
        "parameters": f"{sum(r.parameters for r in rows):,}",
        "MACs": f"{sum(r.macs for r in rows):,}",
        "activations": tables.size(sum(r.activation_bytes for r in rows)),
    }
    for column in table.columns:
        column.footer = totals.get(str(column.header), "")
    return table
