"""ONNX Runtime as a row of the bench."""

from __future__ import annotations

from typing import Any

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.flow import Flow, in_threads


class OnnxRuntime:
    """ONNX Runtime's CPU provider with every graph optimisation and its default spinning."""

    precision = "float32"

    def __init__(self, task: Task) -> None:
        import onnxruntime as ort

        self.version = ort.__version__
        self._ort, self._task = ort, task
        self._model = task.onnx.read_bytes()

    def compile(self, inputs: Arrays) -> None:
        ort = self._ort
        options = ort.SessionOptions()
        threads, streams = self._task.threads, self._task.streams
        options.intra_op_num_threads = threads * streams if threads > 1 else 1  # one pool serves all requests
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        for name, size in self._task.sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        self._session = ort.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self._inputs = inputs

    def run(self) -> Any:
        return self._session.run(None, self._inputs)

    def flow(self, seconds: float) -> Flow:
        return in_threads(self.run, self._task.streams, seconds)

    def read(self, result: Any) -> Arrays:
        return dict(zip(self._names, result, strict=True))
