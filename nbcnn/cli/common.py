"""What several verbs share: their arguments, and compiling with a progress bar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbcnn.cli.progress import bar

if TYPE_CHECKING:
    from nbcnn.ir.graph import Graph
    from nbcnn.lower.model import Model

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name (see nbcnn list), a YAML or ONNX file.")
]

Passes = Annotated[
    str,
    typer.Option(
        metavar="PIPELINE",
        help="default, max, sparse, channels, none, a YAML file, or passes: 'fuse-conv-bn, fuse-activation'.",
    ),
]

Tune = Annotated[
    bool | None,
    typer.Option(
        "--tune/--no-tune", help="Choose kernels by timing them on this machine, once. [default: on GPUs]"
    ),
]

Target = Annotated[
    str, typer.Option(metavar="cpu|cuda", help="Where it runs: this CPU, or an NVIDIA GPU (nbcnn[cuda]).")
]

Precision = Annotated[
    str,
    typer.Option(
        metavar="PRECISION",
        help="Arithmetic: float32; on GPUs also 3xtf32, tf32, float16, bfloat16, which round more.",
    ),
]

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Options that a verb does not know are those of the pipeline."""


def compiled(graph: Graph, passes: str, target: str = "cpu", **options: Any) -> Model:
    """``graph`` optimised and compiled; ``options`` are the fields of CompileOptions."""
    from nbcnn import api
    from nbcnn.lower.targets import compile_graph
    from nbcnn.options import CompileOptions

    settings = CompileOptions.of(**options)
    with bar(f"compiling {graph.name}") as progress:
        return compile_graph(api.optimize(graph, passes), target, settings, progress)


def pipeline_text(passes: str, words: list[str]) -> str:
    """``passes`` with the options that ``words`` spell, as text."""
    from nbcnn.passes import text

    options = pipeline_options(words)
    return text.dump([{"include": {"pipeline": passes} | options}]) if options else passes


def pipeline_options(words: list[str]) -> dict[str, Any]:
    """The options of a pipeline from the words that a verb left over, such as ``--sparsity 0.8``."""
    from nbcnn.errors import OptionError
    from nbcnn.yaml_reader import scalar

    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        key, is_set, value = word.partition("=")
        if not re.fullmatch(r"--[A-Za-z][\w-]*", key):
            raise OptionError(f"unexpected '{word}'; the options of a pipeline are --name value, after MODEL")
        if not is_set and (value := next(rest, None)) is None:
            raise OptionError(f"no option '{word}' here, and one of the pipeline needs a value")
        try:
            found[key[2:].replace("-", "_")] = scalar(value)
        except ValueError as error:
            raise OptionError(f"{key}: {error}") from None
    return found
