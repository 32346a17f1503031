"""The engines that ``bench`` knows: an explicit table, and how each one loads and runs a model.

The records are cheap to import; a session imports its engine when a worker process makes it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nbcnn.errors import OptionError, nearest

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is asked to run; it travels to the worker as JSON.

    ``folder`` holds ``model.yaml`` (with its weights), ``model.onnx`` and ``inputs.npz``;
    ``sizes`` binds the symbols of the inputs' shapes, ``{"N": 1}``.
    """

    folder: str
    threads: int = 1
    target: str = "cpu"
    passes: str = "default"
    precision: str = "float32"
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def onnx(self) -> Path:
        return Path(self.folder, "model.onnx")

    @property
    def yaml(self) -> Path:
        return Path(self.folder, "model.yaml")


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table.

    ``factory`` is ``module:callable``, imported and called in the worker only; ``needs`` are the
    modules without which the engine is missing, and ``extra`` is the pip extra that brings them.
    A row that is not a ``peer`` is shown beside the others and never counts for a verdict.
    """

    name: str
    factory: str
    needs: tuple[str, ...] = ()
    extra: str = "bench"
    peer: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.needs)


class Session(Protocol):
    """A model in an engine. Making it imports the engine and reads the model (``load_s``)."""

    version: str
    precision: str

    def compile(self, inputs: Arrays) -> None:
        """Everything up to the point where ``run`` can be called, for inputs of these shapes."""

    def run(self) -> Any:
        """One inference on the inputs given to ``compile``: the call that is timed."""

    def read(self, result: Any) -> Arrays:
        """What ``run`` returned, as arrays in NCHW by output name (not timed)."""
        ...


class Nbcnn:
    """nbcnn itself, through its public API."""

    def __init__(self, task: Task) -> None:
        import nbcnn

        self.version = nbcnn.__version__
        self.precision = task.precision
        self._nbcnn, self._task = nbcnn, task
        self._graph = nbcnn.load(str(task.yaml))

    def compile(self, inputs: Arrays) -> None:
        task = self._task
        self.model = self._nbcnn.compile(
            self._graph,
            target=task.target,
            passes=task.passes,
            threads=task.threads,
            precision=task.precision,
        )
        self._inputs = [inputs[name] for name in self._graph.inputs]

    def run(self) -> Any:
        return self.model(*self._inputs)

    def read(self, result: Any) -> Arrays:
        if isinstance(result, Mapping):
            return {name: np.asarray(y) for name, y in result.items()}
        return {next(iter(self._graph.outputs)): np.asarray(result)}

    def profile(self) -> list[dict[str, Any]]:
        """Rows of kernel, time, share and GFLOP/s per step."""
        return [as_row(row) for row in self.model.profile(*self._inputs)]


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
        options.intra_op_num_threads = self._task.threads
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

    def read(self, result: Any) -> Arrays:
        return dict(zip(self._names, result, strict=True))


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


class Torch:
    """PyTorch: the network traced in channels_last, frozen and optimised for inference."""

    precision = "float32"

    def __init__(self, task: Task) -> None:
        import torch

        from nbcnn.bench.torch_onnx import load

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


def as_row(row: Any) -> dict[str, Any]:
    """A dict of a mapping's items or an object's fields."""
    if isinstance(row, Mapping):
        return dict(row)
    names = getattr(row, "__dataclass_fields__", None) or getattr(row, "_fields", None) or vars(row)
    return {name: getattr(row, name) for name in names}


_HERE = "nbcnn.bench.engines:"

NBCNN = Engine("nbcnn", _HERE + "Nbcnn", extra="")

ENGINES: dict[str, tuple[Engine, ...]] = {
    "onnxruntime": (Engine("onnxruntime", _HERE + "OnnxRuntime", needs=("onnxruntime", "onnx")),),
    "openvino": (
        Engine("openvino", _HERE + "OpenVino", needs=("openvino", "onnx"), extra="peers"),
        Engine(
            "openvino (default precision)",
            _HERE + "OpenVino",
            needs=("openvino", "onnx"),
            extra="peers",
            peer=False,
            options={"precision": None},
        ),
    ),
    "torch": (Engine("torch", _HERE + "Torch", needs=("torch", "onnx"), extra="peers"),),
}
"""What ``--against`` may name, and the rows that each name gives."""


def select(names: Iterable[str]) -> list[Engine]:
    """The rows for the engines named, in that order, each once; an unknown name is an OptionError."""
    rows: dict[str, Engine] = {}
    for name in names:
        if name not in ENGINES:
            raise OptionError(f"unknown engine '{name}'{nearest(name, ENGINES)}")
        rows.update({engine.name: engine for engine in ENGINES[name]})
    return list(rows.values())
