"""``nbcnn import``: an ONNX file to a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Where to write; FILE with .yaml when not given."),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(metavar="NAME=NUMBER,...", help="Numbers for open extents, such as height=224."),
    ] = None,
) -> None:
    """Turn an ONNX file into a model file.

    Writes YAML, and beside it the weights as safetensors.

    Every operator that is not served is listed, with its name, attributes and the reason. Other verbs
    take ONNX files as they are.

    \b
    Example:
      nbcnn import model.onnx -o model.yaml
      nbcnn import segment.onnx --shapes height=512,width=512
    """
    from nbcnn import api

    graph = api.from_onnx(file, shapes=_shapes(shapes) if shapes else None)
    out = out or Path(file.name).with_suffix(".yaml")
    api.save(graph, out)
    typer.echo(f"{out}: {len(graph.nodes)} nodes, {graph.parameters:,} parameters, {graph.macs:,} MACs")


def _shapes(text: str) -> dict[str, int]:
    from nbcnn.errors import OptionError

    found: dict[str, int] = {}
    for word in text.split(","):
        name, _, number = word.rpartition("=")
        if not name or not number.strip().isdecimal():
            raise OptionError(f"--shapes takes NAME=NUMBER,..., got '{word}'")
        found[name.strip()] = int(number)
    return found
