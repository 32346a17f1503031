"""A graph to an ONNX file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.errors import GraphError, ModelFileError
from nbcnn.frontends.onnx.proto import package
from nbcnn.frontends.onnx.table import EXPORT
from nbcnn.frontends.onnx.versions import converted
from nbcnn.frontends.onnx.write import OPSET, WriteCall
from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.types import TensorType
from nbcnn.ops.fused import Fused

if TYPE_CHECKING:
    import onnx

IR_VERSION = 8
"""The file format that came with this opset: every engine of the last years reads it."""

INLINE_BYTES = 2**31 - 2**24
"""Weights above this are written beside the model: protobuf holds 2 GiB, and the nodes need some."""


def export(graph: Graph, path: Path, opset: int | None = None) -> None:
    """Write ``graph`` to ``path`` as an ONNX model (opset 17, or ``opset``), with the batch ``N`` left open.

    Fused nodes become the nodes of their bodies, masked weights hold their zeros, dropout is gone;
    inputs and outputs keep their names. A model above 2 GB has its weights in ``path`` + ``.data``.
    Files appear whole or not at all. Raises NbcnnError without the ``onnx`` package, where ``path``
    cannot be written, or where an operator cannot be told in ``opset``.
    """
    model = to_model(graph)
    if opset is not None and opset != OPSET:
        model = converted(model, opset)
    if path.is_dir():
        raise ModelFileError("is a folder, not a file", where=str(path))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            for file in _write(model, Path(folder), path.name):
                os.replace(file, path.with_name(file.name))
    except OSError as error:
        raise ModelFileError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def to_model(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of ``graph`` in memory."""
    onnx = package()
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.expand(node)
    outputs = [writer.result(public, value) for public, value in graph.outputs.items()]
    inputs = [_info(name, type_) for name, type_ in graph.inputs.items()]
    proto = onnx.helper.make_graph(writer.nodes, graph.name, inputs, outputs, writer.constants)
    return onnx.helper.make_model(
        proto,
        producer_name="nbcnn",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        doc_string=str(graph.meta.get("description", "")),
    )


class _Writer:
    """Nodes and initialisers as they come, and which ONNX tensor holds which value of the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._taken = set(graph.inputs)
        self._tensor: dict[str, str] = {name: name for name in graph.inputs}  # value -> tensor
        self._public: dict[str, str] = {}  # value -> the first public name it has
        self._flipped: dict[str, str] = {}
        self._weight_of: dict[str, str] = {}  # tensor -> the weight it holds
        for public, value in graph.outputs.items():
            if public in graph.inputs and public != value:
                raise GraphError(f"output '{public}' bears the name of an input, which ONNX does not allow")
            self._taken.add(public)
            self._public.setdefault(value, public)

    # -- what an operator writes with ------------------------------------------------------------

    def node(self, kind: str, inputs: list[str], outputs: list[str], attributes: dict[str, Any]) -> None:
        self.nodes.append(package().helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))

    def constant(self, name: str, array: np.ndarray) -> str:
        name = self.fresh(name)
        rows = np.ascontiguousarray(array).reshape(array.shape)  # a scalar would come back as one row
        self.constants.append(package().numpy_helper.from_array(rows, name))
        return name

    def fresh(self, name: str) -> str:
        """``name``, or with a number after it when it is taken."""
        found, number = name, 0
        while found in self._taken:
            number += 1
            found = f"{name}.{number}"
        self._taken.add(found)
        return found

    def flipped(self, weight: str) -> str:
        """The tensor with the kernels of ``weight`` turned by 180 degrees."""
        if weight not in self._flipped:
            if weight not in self._weight_of:
                raise GraphError(f"'{weight}' is computed: ONNX cannot turn the kernels of a convolution")
            array = self.graph.weight(self._weight_of[weight]).array
            self._flipped[weight] = self.constant(
                f"{weight}.flipped", np.flip(array, tuple(range(2, array.ndim)))
            )
        return self._flipped[weight]

    # -- nodes and values ------------------------------------------------------------------------

    def expand(self, node: Node) -> None:
        """Write a node; for a fused one the nodes of its body, whose inner values keep their names."""
        operands = [self.tensor(v) for v in node.inputs]
        types = self.graph.types(node.data)
        if not isinstance(node.op, Fused):
            names = [self._name(v) for v in node.outputs]
            self._tensor.update(zip(node.outputs, self._write(node, operands, types, names), strict=True))
            return
        body = node.op.body
        outer = dict(zip(body.outputs, node.outputs, strict=True))
        tensors = dict(zip(body.inputs + body.weights, operands, strict=True))
        known = dict(zip(body.inputs + body.weights, self.graph.types(node.inputs), strict=True))
        for inner in body.nodes:
            names = [self._name(outer[v]) if v in outer else self.fresh(v) for v in inner.outputs]
            data = [known[v] for v in inner.data]
            made = self._write(inner, [tensors[v] for v in inner.inputs], data, names)
            tensors.update(zip(inner.outputs, made, strict=True))
            known.update(zip(inner.outputs, inner.op.infer(*data), strict=True))
        self._tensor.update((node_value, tensors[v]) for v, node_value in outer.items())

    def tensor(self, value: str) -> str:
        """The tensor that holds a value; a weight becomes an initialiser when it is first read."""
        if value not in self._tensor:
            name = self.constant(value, self.graph.weight(value).array)
            self._tensor[value], self._weight_of[name] = name, value
        return self._tensor[value]

    def result(self, public: str, value: str) -> onnx.ValueInfoProto:
        """Make ``value`` available as the output ``public``."""
        if self.tensor(value) != public:
            self.node("Identity", [self.tensor(value)], [public], {})
        return _info(public, self.graph.type(value))

    def _name(self, value: str) -> str:
        """The tensor's name for a new value: its public name when it is an output."""
        return self._public[value] if value in self._public else self.fresh(value)

    def _write(
        self, node: Node, operands: list[str], types: Iterable[TensorType], names: list[str]
    ) -> list[str]:
        """Write a node; returns the tensors that hold its results: ``names``, or its own operand."""
        if node.op.name not in EXPORT:
            raise GraphError(f"no ONNX export of '{node.op.name}'", node=node.name)
        first = EXPORT[node.op.name](WriteCall(node.op, operands, list(types), names, self))
        return [first, *names[1:]]


def _info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    onnx = package()
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(type_.dtype))
    return onnx.helper.make_tensor_value_info(name, kind, list(type_.shape))


def _write(model: onnx.ModelProto, folder: Path, name: str) -> list[Path]:
    """Check the model and write its files to ``folder``, the one others refer to first."""
    onnx = package()
    file = folder / name
    if sum(len(t.raw_data) for t in model.graph.initializer) < INLINE_BYTES:
        content = model.SerializeToString()
        onnx.checker.check_model(content)
        file.write_bytes(content)
        return [file]
    onnx.save_model(model, str(file), save_as_external_data=True, location=f"{name}.data")
    onnx.checker.check_model(str(file))
    return [folder / f"{name}.data", file]
