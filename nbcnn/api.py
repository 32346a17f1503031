"""The Python API: each function imports what it needs when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbcnn import resources
from nbcnn.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from nbcnn.ir.graph import Graph
    from nbcnn.lower.model import Model


def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    shapes: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Graph:
    """The graph of a model: a name (``resnet50``, see `nbcnn list`) or the path of a YAML or ONNX file.

    ``weights`` is a safetensors file that takes the place of the model's own; ``shapes`` binds
    symbolic extents such as ``{"H": 224}``; ``seed`` draws weights for a model without a file.
    An ONNX file has its own weights.
    """
    from nbcnn.frontends import yaml_model

    path = resources.find("graphs", model)
    if path.suffix == ".onnx":
        if weights is not None:
            raise OptionError(f"weights: {path} is an ONNX file, which holds its own")
        return from_onnx(path, shapes=shapes)
    return yaml_model.load(path, weights=Path(weights) if weights else None, shapes=shapes, seed=seed)


def save(graph: Graph, path: str | Path) -> None:
    """Write ``graph`` as YAML to ``path``, and its weights beside it as safetensors."""
    from nbcnn.frontends import yaml_writer

    _check(graph)
    yaml_writer.save(graph, Path(path))


def from_onnx(
    model: str | Path | bytes | ModelProto,
    *,
    shapes: Mapping[str, int] | None = None,
    constants: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The graph of an ONNX model, opset 6 to the newest; needs ``nbcnn[onnx]``.

    ``model`` is a path, the bytes of a file, or an ``onnx.ModelProto``. The first extent of the inputs may
    stay open and is the batch ``N``; ``shapes`` binds it and the others by the names they have in the file.
    ``constants`` gives inputs that are the same in every call, such as the shape that a Reshape reads.
    Raises ModelFileError that lists every node that cannot be served.
    """
    from nbcnn.frontends.onnx import importer

    return importer.load(model, shapes=shapes, constants=constants)


def to_onnx(graph: Graph, path: str | Path, *, opset: int | None = None) -> None:
    """Write ``graph`` to ``path`` as an ONNX model for any batch; needs ``nbcnn[onnx]``.

    The opset is 17, or higher where an operator needs it, or ``opset``. Raises NbcnnError where an operator
    cannot be told in it.
    """
    from nbcnn.frontends.onnx import exporter

    _check(graph)
    exporter.export(graph, Path(path), opset)


def optimize(graph: Graph, passes: Any = "default", **options: Any) -> Graph:
    """``graph`` after a pipeline: its name, the path of its YAML file, or a list of passes.

    ``options`` are those that the pipeline's file declares: ``optimize(graph, "prune.yaml", sparsity=0.8)``.
    """
    from nbcnn.passes import Pipeline, runner

    _check(graph)
    return runner.optimize(graph, Pipeline.of(passes, options))


def compile(graph: Graph, target: str = "cpu", passes: Any = "default", **options: Any) -> Model:
    """A program for ``target``, ``"cpu"`` or ``"cuda"``; ``options`` are the fields of CompileOptions.

    ``"cuda"`` needs an NVIDIA GPU and ``nbcnn[cuda]`` (or Numba's simulator, ``NUMBA_ENABLE_CUDASIM=1``).
    The program has the weights packed: what it was made of is let go where it can be read or made again.
    """
    from nbcnn.frontends.weights import release_pages
    from nbcnn.lower import targets
    from nbcnn.options import CompileOptions

    targets.check(target)
    model = targets.compile_graph(optimize(graph, passes), target, CompileOptions.of(**options))
    for weight in model.graph.weights.values():
        weight.forget()
    release_pages()
    return model


def _check(graph: Any) -> None:
    from nbcnn.ir.graph import Graph

    if not isinstance(graph, Graph):
        hint = f": use nbcnn.load({str(graph)!r})" if isinstance(graph, str | Path) else ""
        raise OptionError(f"expected a graph, got {type(graph).__name__}{hint}")
