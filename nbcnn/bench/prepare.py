"""What every engine receives: one model as YAML and as ONNX, and one seeded input, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.job import Job
from nbcnn.errors import OptionError

SEED = 0


def prepare(job: Job, folder: Path, onnx: bool = True) -> Task:
    """Load the model, run its lossy passes, write it with an input for it.

    ``onnx=False`` leaves the export out, for when nobody would read it.
    """
    import nbcnn

    graph = nbcnn.load(job.model)
    lossy, own = split(job.passes)
    if lossy:
        graph = nbcnn.optimize(graph, lossy)
    inputs = draw(graph.inputs, job.batch)
    task = Task(str(folder), job.threads, job.target, own, job.precision, {"N": job.batch})
    nbcnn.save(graph, str(task.yaml))
    if onnx:
        nbcnn.to_onnx(graph, str(task.onnx))
    np.savez(folder / "inputs.npz", *inputs.values(), names=np.array(list(inputs)))
    return task


def draw(types: Any, batch: int) -> Arrays:
    """Normally distributed values (whole numbers for integers) for inputs of these types."""
    rng = np.random.default_rng(SEED)
    inputs = {}
    for name, kind in types.items():
        shape = [batch if extent == "N" else extent for extent in kind.shape]
        if free := [extent for extent in shape if isinstance(extent, str)]:
            raise OptionError(f"input '{name}' leaves '{free[0]}' open; bench needs a fixed size")
        dtype = np.dtype(kind.dtype)
        if dtype.kind == "f":
            inputs[name] = rng.standard_normal(shape, np.float32).astype(dtype)
        else:
            inputs[name] = rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
    return inputs


def split(passes: str | tuple[str, ...]) -> tuple[list[Any], str | list[str]]:
    """The lossy passes, which change the model, and the rest, which are nbcnn's own business.

    A pipeline without lossy passes is handed on as it is.
    """
    from nbcnn.passes import resolve

    pipeline = list(resolve(passes))
    lossy = [p for p in pipeline if p.contract.kind == "lossy"]
    if not lossy:
        return [], passes if isinstance(passes, str) else list(passes)
    return lossy, [str(p) for p in pipeline if p not in lossy]
