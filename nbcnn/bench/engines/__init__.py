"""The engines that ``bench`` knows: an explicit table, and a file each for how it loads and runs a model.

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
    ``sizes`` binds the symbols of the inputs' shapes, ``{"N": 1}``; ``tune`` is an option of nbcnn.
    """

    folder: str
    threads: int = 1
    streams: int = 1
    target: str = "cpu"
    passes: str = "default"
    precision: str = "float32"
    sizes: Mapping[str, int] = field(default_factory=dict)
    tune: bool = False

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
    """A model in an engine. Making it imports the engine and reads the model (``load_s``).

    It may have a ``note``, a few words on how it runs the model, and a ``profile()``. One that can run
    several requests at a time has ``flow(seconds)``, which keeps as many in flight as the task has
    streams, in the way that the engine's users are told to.
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

NBCNN = Engine("nbcnn", _HERE + "own:Nbcnn", extra="")

ENGINES: dict[str, tuple[Engine, ...]] = {
    "dense": (Engine("nbcnn (dense)", _HERE + "own:Nbcnn", peer=False, options={"passes": "default"}),),
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
    "torch": (Engine("torch", _HERE + "torch_engine:Torch", ("torch", "onnx"), "peers"),),
    "mnn": (Engine("mnn", _HERE + "mnn_engine:Mnn", ("MNN", "onnx"), "peers"),),
    "ncnn": (Engine("ncnn", _HERE + "ncnn_engine:Ncnn", ("ncnn", "pnnx", "onnx"), "peers"),),
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
