"""What every engine receives: one model as YAML and as ONNX, and one seeded input, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.job import Job
from nbcnn.errors import OptionError

if TYPE_CHECKING:
    from nbcnn.passes import Pass, Pipeline, Repeat

SEED = 0

FOLD = "fuse-conv-bn"


def prepare(job: Job, folder: Path, onnx: bool = True) -> Task:
    """Load the model, run its lossy passes, write it with an input for it.

    ``onnx=False`` leaves the export out, for when nobody would read it.
    """
    import nbcnn

    lossy, own = split(job.passes)
    graph = nbcnn.load(job.model)
    if lossy is not None:
        graph = nbcnn.optimize(graph, lossy)
    inputs = draw(graph.inputs, job.batch)
    task = Task(
        str(folder), job.threads, job.streams, job.target, own, job.precision, {"N": job.batch}, job.tune
    )
    nbcnn.save(graph, str(task.yaml))
    if onnx:  # on CPUs the engines fold batch norms themselves; eager PyTorch does not
        nbcnn.to_onnx(nbcnn.optimize(graph, FOLD) if job.target == "cuda" else graph, str(task.onnx))
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


def split(passes: str) -> tuple[Pipeline | None, str]:
    """The lossy steps, which change the model, and as text the rest, nbcnn's own business.

    A pipeline without lossy steps is handed on as it was named.
    """
    from nbcnn.passes import Pipeline

    pipeline = Pipeline.of(passes)
    lossy = tuple(step for step in pipeline.steps if _is_lossy(step))
    if not lossy:
        return None, passes
    own = tuple(step for step in pipeline.steps if not _is_lossy(step))
    return Pipeline(lossy), str(Pipeline(own)) or "none"


def _is_lossy(step: Pass | Repeat) -> bool:
    from nbcnn.passes import Pass

    if isinstance(step, Pass):
        return step.contract.kind == "lossy"
    return any(map(_is_lossy, step.passes))
