"""PyTorch on an NVIDIA GPU as rows of the bench."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Task

WARM_CALLS = 3
"""Before a capture: cuDNN measures its algorithms, libraries allocate what they keep."""


class TorchCuda:
    """PyTorch as fast as it goes for inputs of one shape: no Python between its kernels.

    Eager PyTorch in channels_last, with cuDNN's kernels chosen by measuring (``cudnn.benchmark``) and all
    launches captured in one CUDA graph; batch norms of ``model.onnx`` should be folded. ``compiled`` takes
    the kernels of ``torch.compile`` in mode max-autotune in their place, captured here as well: the graphs
    that it makes by itself check guards in Python at each call. Half precision is that of weights and images
    throughout, without autocast's conversions; tf32 is allowed when asked for, and only then.

    Inputs lie on the device as nbcnn gets them, float32 in NCHW; outputs stay there, as they come.
    """

    def __init__(self, task: Task, compiled: bool = False, device: str = "cuda") -> None:
        """``device`` other than a GPU is for tests, and captures nothing."""
        import torch

        from nbcnn.bench.engines.torch_onnx import load

        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        self.version = torch.__version__
        self.precision = "float32" if task.precision == "3xtf32" else task.precision
        self.note = "torch.compile, max-autotune, in a CUDA graph" if compiled else "cuDNN, in a CUDA graph"
        self._torch, self._device = torch, device
        self._dtype = torch.float32 if self.precision == "tf32" else getattr(torch, self.precision)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        module = load(task.onnx).eval()
        self._names = module.inputs, module.outputs
        self._module: Callable[..., Any] = module.to(device, self._dtype).to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )
        if compiled:
            self._module = torch.compile(self._module, mode="max-autotune-no-cudagraphs", dynamic=False)

    def compile(self, inputs: Arrays) -> None:
        self._inputs = [self._torch.from_numpy(inputs[name]).to(self._device) for name in self._names[0]]
        self._start = self._captured() if self._device == "cuda" else self._forward

    def run(self) -> Any:
        """Start the graph and wait for it; the outputs are the graph's own, and change with the next call."""
        result = self._start()
        if self._device == "cuda":
            self._torch.cuda.synchronize()
        return result

    def read(self, result: Any) -> Arrays:
        results = result if isinstance(result, tuple) else (result,)
        return {name: _array(y) for name, y in zip(self._names[1], results, strict=True)}

    def device_seconds(self, repeats: int = 20) -> float:
        """Seconds from one start of the graph to the next, the median by the device's clock."""
        events = [self._torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        for event in events:
            self._start()
            event.record()
        self._torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in pairwise(events)) / 1e3

    def _forward(self) -> Any:
        with self._torch.inference_mode():
            return self._module(*map(self._prepared, self._inputs))

    def _prepared(self, x: Any) -> Any:
        """An input as the module takes it; part of the call."""
        x = x.to(self._dtype) if x.is_floating_point() else x
        return x.contiguous(memory_format=self._torch.channels_last) if x.ndim == 4 else x

    def _captured(self) -> Callable[[], Any]:
        cuda = self._torch.cuda
        beside = cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            for _ in range(WARM_CALLS):
                self._forward()
        cuda.current_stream().wait_stream(beside)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            result = self._forward()

        def start() -> Any:
            graph.replay()
            return result

        return start


def _array(y: Any) -> np.ndarray:
    y = y.float() if y.is_floating_point() else y
    return y.contiguous().cpu().numpy()
