"""Changes of resolution."""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall

IMPORT: dict[str, Callable[[ReadCall], None]] = {}
EXPORT: dict[str, Callable[[WriteCall], str]] = {}
