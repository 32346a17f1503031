"""The engines that ``bench`` knows: an explicit table, and a file each for how it loads and runs a model.

The records are cheap to import; a session imports its engine when a worker process makes it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nbcnn.errors import OptionError, nearest

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is asked to run; it travels to the worker as JSON.

    ``folder`` holds ``model.yaml`` (with its weights), ``model.onnx`` and ``inputs.npz``;
    ``sizes`` binds the symbols of the inputs' shapes, ``{"N": 1}``; ``tune`` is an option of nbcnn.
    """

    folder: str
    threads: int = 1
    streams: int = 1
    target: str = "cpu"
    passes: str = "default"
    precision: str = "float32"
    sizes: Mapping[str, int] = field(default_factory=dict)
    tune: bool | None = None

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
    A row that is not a ``peer`` is shown beside the others and never counts for a verdict. ``targets`` are
    those of nbcnn that it is a match for.
    """

    name: str
    factory: str
    needs: tuple[str, ...] = ()
    extra: str = "bench"
    peer: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ("cpu",)

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.needs)


class Session(Protocol):
    """A model in an engine. Making it imports the engine and reads the model (``load_s``).

    It may have a ``note``, a few words on how it runs the model, and a ``profile()``; one on a GPU has
    ``device_seconds(repeats)``, what an inference takes by the device's clock. One that can run several
    requests at a time has ``flow(seconds)``, which keeps as many in flight as the task has streams, in the
    way that the engine's users are told to.
    """

    version: str
    precision: str

    def compile(self, inputs: Arrays) -> None:
        """Everything up to the point where ``run`` can be called, for inputs of these shapes."""

    def run(self) -> Any:
        """One inference on the inputs given to ``compile``: the call that is timed."""

    def read(self, result: Any) -> Arrays:
        """What ``run`` returned, as arrays in NCHW by output name (not timed)."""
        ...


_HERE = "nbcnn.bench.engines."

NBCNN = Engine("nbcnn", _HERE + "own:Nbcnn", extra="", targets=("cpu", "cuda"))

ENGINES: dict[str, tuple[Engine, ...]] = {
    "dense": (replace(NBCNN, name="nbcnn (dense)", peer=False, options={"passes": "default"}),),
    "onnxruntime": (
        Engine("onnxruntime", _HERE + "onnxruntime_engine:OnnxRuntime", ("onnxruntime", "onnx")),
    ),
    "openvino": (
        Engine("openvino", _HERE + "openvino_engine:OpenVino", ("openvino", "onnx"), "peers"),
        Engine(
            "openvino (default precision)",
            _HERE + "openvino_engine:OpenVino",
            ("openvino", "onnx"),
            "peers",
            peer=False,
            options={"precision": None},
        ),
    ),
    "torch": (
        Engine("torch", _HERE + "torch_engine:Torch", ("torch", "onnx"), "peers"),
        Engine("torch", _HERE + "torch_cuda:TorchCuda", ("torch", "onnx"), "peers", targets=("cuda",)),
    ),
    "torch.compile": (
        Engine(
            "torch.compile",
            _HERE + "torch_cuda:TorchCuda",
            ("torch", "onnx", "triton"),
            "peers",
            options={"compiled": True},
            targets=("cuda",),
        ),
    ),
    "mnn": (Engine("mnn", _HERE + "mnn_engine:Mnn", ("MNN", "onnx"), "peers"),),
    "ncnn": (Engine("ncnn", _HERE + "ncnn_engine:Ncnn", ("ncnn", "pnnx", "onnx"), "peers"),),
}
"""What ``--against`` may name, and the rows that each name gives."""


def select(names: Iterable[str], target: str = "cpu") -> list[Engine]:
    """The rows for the engines named, in that order, each once.

    Raises OptionError for an unknown name, and for one that has no row for nbcnn's ``target``.
    """
    known = [name for name, rows in ENGINES.items() if any(target in row.targets for row in rows)]
    found: dict[str, Engine] = {}
    for name in names:
        if name not in ENGINES:
            raise OptionError(f"unknown engine '{name}'{nearest(name, known)}")
        if name not in known:
            hint = f"; expected one of: {', '.join(known)}"
            raise OptionError(f"engine '{name}' is no match for target '{target}'{hint}")
        found.update({row.name: row for row in ENGINES[name] if target in row.targets})
    return list(found.values())
