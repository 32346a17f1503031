"""OpenVINO as a row of the bench."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nbcnn.bench import flow
from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.flow import Flow


class OpenVino:
    """OpenVINO's CPU plug-in with the task's streams; ``precision=None`` leaves it its own choice."""

    def __init__(self, task: Task, precision: str | None = "float32") -> None:
        import openvino as ov

        self.version, self.precision = ov.__version__.split("-")[0], str(precision)
        self._ov, self._task = ov, task
        self._core = ov.Core()
        self._model = self._core.read_model(task.onnx)

    def compile(self, inputs: Arrays) -> None:
        threads, streams = self._task.threads, self._task.streams
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads * streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
        if self.precision == "float32":
            config["INFERENCE_PRECISION_HINT"] = "f32"
        self._model.reshape({name: list(x.shape) for name, x in inputs.items()})
        compiled = self._core.compile_model(self._model, "CPU", config)
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(chosen, chosen)
        self._compiled, self._inputs = compiled, inputs
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._request = compiled.create_infer_request()
        for name, x in inputs.items():
            self._request.set_tensor(name, self._ov.Tensor(x))

    def run(self) -> Any:
        return self._request.infer(share_outputs=True)

    def flow(self, seconds: float) -> Flow:
        # Its own queue: threads that each call infer() reach half the throughput.
        queue = self._ov.AsyncInferQueue(self._compiled, self._task.streams)
        for request in queue:
            for name, x in self._inputs.items():
                request.set_tensor(name, self._ov.Tensor(x))
        clock = time.perf_counter_ns
        calls: list[list[tuple[int, int]]] = [[] for _ in queue]  # of each request: start, end

        def keep_busy(seconds: float, least: int) -> None:
            finish, started = clock() + int(seconds * 1e9), 0
            while clock() < finish or started < least:
                stream = queue.get_idle_request_id()  # waits for one
                queue.start_async(userdata=(stream, clock()))
                started += 1
            queue.wait_all()

        keep_busy(0, flow.REWARM_CALLS * len(queue))
        queue.set_callback(lambda request, data: calls[data[0]].append((data[1], clock())))
        keep_busy(seconds, flow.MIN_CALLS * len(queue))
        return flow.together(
            ([end - start for start, end in own], own[-1][1] - own[0][0]) for own in calls if own
        )

    def read(self, result: Any) -> Arrays:
        return {name: np.array(result[i]) for i, name in enumerate(self._names)}
