"""PyTorch as a row of the bench."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task


class Torch:
    """PyTorch: the network traced in channels_last, frozen and optimised for inference."""

    precision = "float32"

    def __init__(self, task: Task) -> None:
        import torch

        from nbcnn.bench.engines.torch_onnx import load

        torch.set_num_threads(task.threads)
        self.version = torch.__version__
        self._torch = torch
        self._module = load(task.onnx).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compile(self, inputs: Arrays) -> None:
        torch = self._torch
        self._inputs = tuple(self._tensor(inputs[name]) for name in self._module.inputs)
        with torch.inference_mode():
            traced = torch.jit.trace(self._module, self._inputs, check_trace=False)
            self._traced = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            for _ in range(3):  # the profiling executor specialises in its first calls
                self._traced(*self._inputs)

    def _tensor(self, x: np.ndarray) -> Any:
        tensor = self._torch.from_numpy(x)
        if tensor.ndim != 4:
            return tensor
        return tensor.contiguous(memory_format=self._torch.channels_last)

    def run(self) -> Any:
        with self._torch.inference_mode():
            return self._traced(*self._inputs)

    def read(self, result: Any) -> Arrays:
        results = result if isinstance(result, tuple) else (result,)
        arrays = (y.contiguous().numpy() for y in results)
        return dict(zip(self._module.outputs, arrays, strict=True))
