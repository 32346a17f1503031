"""All rows of both directions, joined from the family files."""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.frontends.onnx import (
    activation,
    constant,
    conv,
    elementwise,
    index,
    matmul,
    norm,
    pool,
    quantise,
    reduce,
    resize,
    shape,
)
from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall

FAMILIES = (
    conv,
    pool,
    norm,
    elementwise,
    activation,
    shape,
    index,
    reduce,
    matmul,
    resize,
    quantise,
    constant,
)

IMPORT: dict[str, Callable[[ReadCall], None]] = {k: row for f in FAMILIES for k, row in f.IMPORT.items()}
"""ONNX operator -> the function that reads a node of it."""

EXPORT: dict[str, Callable[[WriteCall], str]] = {k: row for f in FAMILIES for k, row in f.EXPORT.items()}
"""YAML word -> the function that writes it and returns the name of the result.

``fused`` is missing: the nodes of its body are written.
"""
