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

    def compile(self, inputs: Arrays) -> None:
        task = self._task
        self.model = self._nbcnn.compile(
            self._graph,
            target=task.target,
            passes=self._passes,
            threads=task.threads,
            precision=task.precision,
            tune=task.tune,
        )
        self._inputs = [inputs[name] for name in self._graph.inputs]

    def run(self) -> Any:
        return self.model(*self._inputs)

    def flow(self, seconds: float) -> Flow:
        with self.model.streams(self._task.streams) as streams:
            return in_threads(lambda: streams(*self._inputs), streams.count, seconds)

    def read(self, result: Any) -> Arrays:
        if isinstance(result, Mapping):
            return {name: np.asarray(y) for name, y in result.items()}
        return {next(iter(self._graph.outputs)): np.asarray(result)}

    def profile(self) -> list[dict[str, Any]]:
        """Rows of kernel, time, share and GFLOP/s per step."""
        return [as_row(row) for row in self.model.profile(*self._inputs)]


def as_row(row: Any) -> dict[str, Any]:
    """A dict of a mapping's items or an object's fields."""
    if isinstance(row, Mapping):
        return dict(row)
    names = getattr(row, "__dataclass_fields__", None) or getattr(row, "_fields", None) or vars(row)
    return {name: getattr(row, name) for name in names}
