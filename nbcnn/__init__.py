"""nbcnn: an optimising compiler and runtime for convolutional networks, written entirely in Python.

Importing this package imports none of its parts: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbcnn.api import compile, from_onnx, load, optimize, save, to_onnx
    from nbcnn.errors import NbcnnError
    from nbcnn.ir.graph import Graph
    from nbcnn.lower.model import Model

__version__ = "0.1.0"

_HOMES = {
    "load": "nbcnn.api",
    "save": "nbcnn.api",
    "optimize": "nbcnn.api",
    "compile": "nbcnn.api",
    "from_onnx": "nbcnn.api",
    "to_onnx": "nbcnn.api",
    "Graph": "nbcnn.ir.graph",
    "Model": "nbcnn.lower.model",
    "NbcnnError": "nbcnn.errors",
}

__all__ = [
    "Graph",
    "Model",
    "NbcnnError",
    "__version__",
    "compile",
    "from_onnx",
    "load",
    "optimize",
    "save",
    "to_onnx",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nbcnn' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
