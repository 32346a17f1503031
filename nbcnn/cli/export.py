"""``nbcnn export``: a model to an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nbcnn.cli.common import ModelName, Passes, pipeline_options


def export(
    context: typer.Context,
    model: ModelName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The ONNX file to write.")],
    opset: Annotated[int | None, typer.Option(min=6, help="The version of ONNX's operators.")] = None,
    passes: Passes = "none",
) -> None:
    """Write a model as an ONNX file.

    As it is, or after --passes.

    Fused nodes become the nodes of their bodies; pruned weights are written with their zeros.

    \b
    Example:
      nbcnn export resnet50 resnet50.onnx
      nbcnn export resnet50 small.onnx --passes default --opset 13
    """
    from nbcnn import api

    graph = api.optimize(api.load(model), passes, **pipeline_options(context.args))
    api.to_onnx(graph, out, opset=opset)
    typer.echo(f"{out}: {len(graph.nodes)} nodes, {graph.parameters:,} parameters, {graph.macs:,} MACs")
