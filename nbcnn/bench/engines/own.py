"""nbcnn itself, as a row of the bench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.flow import Flow, in_threads


class Nbcnn:
    """nbcnn itself, through its public API; ``passes`` in place of the task's."""

    def __init__(self, task: Task, passes: str | None = None) -> None:
        import nbcnn

        self.version = nbcnn.__version__
        self.precision = task.precision
        self._nbcnn, self._task, self._passes = nbcnn, task, passes or task.passes
        self._graph = nbcnn.load(str(task.yaml))
        self.model: Any = None

    def compile(self, inputs: Arrays) -> None:
        """A second time, for inputs of other shapes, the same program is planned for these."""
        task = self._task
        self.model = self.model or self._nbcnn.compile(
            self._graph,
            target=task.target,
            passes=self._passes,
            threads=task.threads,
            precision=task.precision,
            tune=task.tune,
        )
        place = resident if task.target == "cuda" else np.asarray
        self._inputs = [place(inputs[name]) for name in self._graph.inputs]

    def run(self) -> Any:
        return self.model(*self._inputs)

    def flow(self, seconds: float) -> Flow:
        with self.model.streams(self._task.streams) as streams:
            return in_threads(lambda: streams(*self._inputs), streams.count, seconds)

    def read(self, result: Any) -> Arrays:
        if isinstance(result, Mapping):
            return {name: np.asarray(y) for name, y in result.items()}
        return {next(iter(self._graph.outputs)): np.asarray(result)}

    def device_seconds(self, repeats: int = 20) -> float:
        """Seconds of an inference by the GPU's clock; see `nbcnn.lower.device_model.DeviceModel.seconds`."""
        return self.model.seconds(*self._inputs, repeats=repeats)

    def profile(self) -> list[dict[str, Any]]:
        """Rows of kernel, time, share and GFLOP/s per step."""
        return [as_row(row) for row in self.model.profile(*self._inputs)]


def resident(array: np.ndarray) -> Any:
    """A copy of ``array`` in the memory of the GPU that programs run on."""
    from nbcnn.runtime.cuda.arrays import DeviceArray
    from nbcnn.runtime.cuda.launcher import open_device

    return DeviceArray.of(open_device(), array)


def as_row(row: Any) -> dict[str, Any]:
    """A dict of a mapping's items or an object's fields."""
    if isinstance(row, Mapping):
        return dict(row)
    names = getattr(row, "__dataclass_fields__", None) or getattr(row, "_fields", None) or vars(row)
    return {name: getattr(row, name) for name in names}
