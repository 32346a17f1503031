"""OpenVINO as a row of the bench."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task


class OpenVino:
    """OpenVINO's CPU plug-in for one stream; ``precision=None`` leaves it its own choice."""

    def __init__(self, task: Task, precision: str | None = "float32") -> None:
        import openvino as ov

        self.version, self.precision = ov.__version__.split("-")[0], str(precision)
        self._ov, self._task = ov, task
        self._core = ov.Core()
        self._model = self._core.read_model(task.onnx)

    def compile(self, inputs: Arrays) -> None:
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": self._task.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        if self.precision == "float32":
            config["INFERENCE_PRECISION_HINT"] = "f32"
        self._model.reshape({name: list(x.shape) for name, x in inputs.items()})
        compiled = self._core.compile_model(self._model, "CPU", config)
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(chosen, chosen)
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._request = compiled.create_infer_request()
        for name, x in inputs.items():
            self._request.set_tensor(name, self._ov.Tensor(x))

    def run(self) -> Any:
        return self._request.infer(share_outputs=True)

    def read(self, result: Any) -> Arrays:
        return {name: np.array(result[i]) for i, name in enumerate(self._names)}
