"""What the two runs of a comparison are fed: seeded noise, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nbcnn import reference
from nbcnn.errors import InputError, ModelFileError, OptionError
from nbcnn.ir import BATCH, Graph

Inputs = Mapping[str, np.ndarray]


def seeded(graph: Graph, batch: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal numbers (small whole ones for integer inputs); OptionError for an unbound height."""
    if unbound := graph.symbols - {BATCH}:
        raise OptionError(f"extent '{min(unbound)}' of graph '{graph.name}' is not bound")
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, type_ in graph.inputs.items():
        shape = type_.extents(batch)
        noise = rng.standard_normal(shape, np.float32)
        whole = not type_.dtype.startswith("float")
        arrays[name] = (np.floor(8 * abs(noise)) if whole else noise).astype(type_.dtype)
    return arrays


def read(path: str | Path, graph: Graph) -> dict[str, np.ndarray]:
    """The inputs in a ``.npy`` (the only input), a ``.npz`` (by name) or an image file, checked."""
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        from nbcnn.frontends.preprocess import load_image

        return {next(iter(graph.inputs)): load_image(path, graph)}
    try:
        found = np.load(path, allow_pickle=False)
        arrays = found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError) as error:
        raise ModelFileError(f"cannot be read as arrays: {error}", where=str(path)) from None
    try:
        return reference.bind_inputs(graph, arrays)
    except InputError as error:
        error.where = str(path)
        raise
