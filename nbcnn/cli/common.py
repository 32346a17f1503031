"""What several verbs share: their arguments, and compiling with a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from nbcnn.ir.graph import Graph
    from nbcnn.lower.model import Model

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A name (see nbcnn list) or a YAML file.")]

Passes = Annotated[
    str,
    typer.Option(
        metavar="PIPELINE",
        help="default, none, a pipeline's YAML file, or passes: 'fuse-conv-bn, fuse-activation'.",
    ),
]


def compiled(graph: Graph, passes: str, **options: Any) -> Model:
    """``graph`` optimised and compiled; ``options`` are the fields of CompileOptions."""
    from nbcnn import api
    from nbcnn.lower.build import compile_graph
    from nbcnn.options import CompileOptions

    settings = CompileOptions.of(**options)
    with bar(f"compiling {graph.name}") as progress:
        return compile_graph(api.optimize(graph, passes), settings, progress)
