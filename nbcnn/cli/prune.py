"""``nbcnn prune``: a model with a share of its weights set to zero, and where the zeros are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.common import ModelName

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.ir import Graph
    from nbcnn.passes.prune_report import Row


def prune(
    model: ModelName,
    sparsity: Annotated[
        float | None, typer.Option(metavar="SHARE", help="The share of zeros, from 0 to below 1.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="unstructured, 1x4, 1x8, 1x16 (blocks of output channels), 2:4, 4:8 or channel."),
    ] = None,
    criterion: Annotated[str | None, typer.Option(help="magnitude, global or random.")] = None,
    distribution: Annotated[
        str | None, typer.Option(help="Over the layers: uniform, erk (small ones keep more) or global.")
    ] = None,
    channels: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="In place of zeros: the share of channels to take out."),
    ] = None,
    macs: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="In place of zeros: take out channels until so much of the MACs is left."
        ),
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --channels, --macs: leave multiples of N channels. [8]"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="In place of a share: prune what is smaller, relative to its layer's mean square."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER,...",
            help="Layers that stay: names, patterns, first, last, depthwise, or none. [first,last]",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="LAYER=SHARE,...", help="Shares of zeros for single layers.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws the scores of random.")] = None,
    spec: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A pipeline's YAML, such as nbcnn sensitivity writes, instead."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A safetensors file in place of the model's own weights."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the result: .yaml or .onnx.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Set the least weights to zero, or take channels out.

    The weights are those of convolutions and dense layers. Prints each layer's zeros and their
    pattern. The result holds the zeros as masks, which later passes and training keep; in a .yaml
    they take no space. Batch norm is left as it is, so the model can be trained on.

    With --channels or --macs filters go, and with them all that belongs to them: the result is a
    smaller dense model, and the table tells what is left of each group of layers whose channels go
    together. There --criterion is l1 or l2, --distribution uniform or global, and no layer is kept
    unless --keep names it.

    \b
    Example:
      nbcnn prune resnet50 --sparsity 0.9 --pattern 1x4 -o sparse.yaml
      nbcnn prune resnet50 --macs 0.5 -o small.yaml
      nbcnn prune resnet50 --sparsity 0.8 --layers "layer4.*=0.95"
    """
    from nbcnn import api
    from nbcnn.cli import prune_channels

    given = {
        "sparsity": sparsity,
        "pattern": pattern,
        "criterion": criterion,
        "distribution": distribution,
        "threshold": threshold,
        "channels": channels,
        "macs": macs,
        "round_to": round_to,
        "keep": None if keep is None else names(keep),
        "layers": None if layers is None else _shares(layers),
        "seed": seed,
    }
    options = {name: value for name, value in given.items() if value is not None}
    if spec is not None:
        _check_alone(options)
    graph = api.load(model, weights=weights)
    if spec is None and not options.keys().isdisjoint(prune_channels.OPTIONS):
        graph = prune_channels.pruned(graph, options, json)
    else:
        graph = _zeroed(graph, spec, options, json)
    if out:
        (api.to_onnx if out.suffix == ".onnx" else api.save)(graph, out)


def _zeroed(graph: Graph, spec: str | None, options: dict[str, Any], json: bool) -> Graph:
    """``graph`` with zeros, after printing where they are."""
    from nbcnn.errors import OptionError
    from nbcnn.passes import Pipeline, optimize, prune_report
    from nbcnn.passes.prune import Prune

    if "round_to" in options:
        raise OptionError("--round-to needs --channels or --macs")
    pipeline = Pipeline.of(Path(spec) if spec is not None else Prune.of(options) if options else Prune)
    graph = optimize(graph, pipeline)
    rows = prune_report.rows(graph)
    if json:
        typer.echo(_json(graph.name, str(pipeline), rows))
    else:
        _print(graph.name, str(pipeline), rows)
    return graph


def names(words: str) -> list[str]:
    """``a,b`` as a list; ``none`` is empty."""
    return [] if words in ("", "none") else [word.strip() for word in words.split(",")]


def _shares(words: str) -> dict[str, Any]:
    """``a=0.5, b*=0.9`` as a mapping."""
    from nbcnn.errors import OptionError, PassError
    from nbcnn.passes import text

    try:
        (found,) = text.parse("{" + words + "}")
    except (PassError, ValueError):
        raise OptionError(
            f"--layers takes LAYER=SHARE,... such as conv1=0.5,layer4.*=0.9, got '{words}'"
        ) from None
    return found


def _check_alone(options: dict[str, Any]) -> None:
    from nbcnn.errors import OptionError

    for name in options:
        option = name.replace("_", "-")
        raise OptionError(f"--{option} has no place beside --spec: the file says how to prune")


def _print(name: str, spec: str, rows: list[Row]) -> None:
    from nbcnn.cli import tables

    out = tables.console()
    out.print(_table(f"{name}: {spec}", rows))


def _table(title: str, rows: list[Row]) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    numbers = ("weights", "zeros", "share", "MACs", "MACs left")
    columns = ("layer", "shape", *numbers[:3], "pattern", *numbers[3:])
    table = tables.table(*columns, right=numbers, title=title, footer=True)
    for row in rows:
        table.add_row(
            escape(row.layer),
            " x ".join(map(str, row.shape)),
            tables.count(row.elements),
            tables.count(row.zeros),
            f"{row.share:.1%}" if row.zeros else "",
            row.pattern,
            _macs(row.macs),
            _macs(row.macs_left),
        )
    elements, zeros = sum(r.elements for r in rows), sum(r.zeros for r in rows)
    totals = {
        "layer": f"{len(rows)} layers",
        "weights": f"{elements:,}",
        "zeros": f"{zeros:,}",
        "share": f"{zeros / max(elements, 1):.1%}",
        "MACs": _total(r.macs for r in rows),
        "MACs left": _total(r.macs_left for r in rows),
    }
    for column in table.columns:
        column.footer = totals.get(str(column.header), "")
    return table


def _macs(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _total(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{sum(known):,}" if known else "?"


def _json(name: str, spec: str, rows: list[Row]) -> str:
    import json
    from dataclasses import asdict

    layers = [asdict(row) | {"share": row.share} for row in rows]
    return json.dumps({"model": name, "passes": spec, "layers": layers}, indent=2)
