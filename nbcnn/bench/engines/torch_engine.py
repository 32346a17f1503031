"""PyTorch as a row of the bench."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task
from nbcnn.bench.flow import Flow, in_threads


class Torch:
    """PyTorch in channels_last: the faster of ``torch.compile`` with frozen weights and TorchScript.

    Both are what PyTorch's own guides name for inference on a CPU. ``torch.compile`` wants a C++ compiler;
    without one TorchScript remains (traced, frozen, ``optimize_for_inference``). The note tells which ran.
    """

    precision, note = "float32", ""

    def __init__(self, task: Task) -> None:
        import torch

        from nbcnn.bench.engines.torch_onnx import load

        torch.set_num_threads(task.threads)
        self.version = torch.__version__
        self._torch, self._streams = torch, task.streams
        self._module = load(task.onnx).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compile(self, inputs: Arrays) -> None:
        self._inputs = tuple(self._tensor(inputs[name]) for name in self._module.inputs)
        ways = {"torch.compile, weights frozen": self._inductor, "TorchScript, frozen": self._script}
        found: dict[str, Callable[..., Any]] = {}
        for note, way in ways.items():
            try:
                found[note] = way()
            except RuntimeError as error:  # all that dynamo and inductor raise
                self._error = error
        if not found:
            raise self._error
        self.note, self._program = min(found.items(), key=lambda item: self._seconds(item[1]))

    def _inductor(self) -> Callable[..., Any]:
        import torch._inductor.config as config

        config.freezing = True
        program = self._torch.compile(self._module, dynamic=False)
        self._call(program)
        return program

    def _script(self) -> Callable[..., Any]:
        jit = self._torch.jit
        with self._torch.inference_mode():
            traced = jit.trace(self._module, self._inputs, check_trace=False)
            return jit.optimize_for_inference(jit.freeze(traced))

    def _seconds(self, program: Callable[..., Any]) -> float:
        """The fastest of a few calls; TorchScript specialises in its first ones."""
        times = []
        for _ in range(20):
            start = time.perf_counter()
            self._call(program)
            times.append(time.perf_counter() - start)
        return min(times)

    def _call(self, program: Callable[..., Any]) -> Any:
        with self._torch.inference_mode():
            return program(*self._inputs)

    def _tensor(self, x: np.ndarray) -> Any:
        tensor = self._torch.from_numpy(x)
        if tensor.ndim != 4:
            return tensor
        return tensor.contiguous(memory_format=self._torch.channels_last)

    def run(self) -> Any:
        return self._call(self._program)

    def flow(self, seconds: float) -> Flow:
        return in_threads(self.run, self._streams, seconds)

    def read(self, result: Any) -> Arrays:
        results = result if isinstance(result, tuple) else (result,)
        arrays = (y.contiguous().numpy() for y in results)
        return dict(zip(self._module.outputs, arrays, strict=True))
