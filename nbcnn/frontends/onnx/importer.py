"""An ONNX model to a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.errors import ModelFileError, NbcnnError, nearest
from nbcnn.frontends.onnx import proto, signature
from nbcnn.frontends.onnx.known import Known, evaluate
from nbcnn.frontends.onnx.read import Computed, ReadCall, Unsupported
from nbcnn.frontends.onnx.table import IMPORT
from nbcnn.ir.graph import Graph, Node, check_node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Weight

if TYPE_CHECKING:
    import onnx

FIRST_OPSET = 6
DOMAINS = ("", "ai.onnx")
MAX_TENSOR = 16 << 30
MAX_FOLDED = 1 << 30
"""Bytes of constants that are computed while a model is read."""


def load(
    source: str | Path | bytes | Any,
    *,
    shapes: Mapping[str, int] | None = None,
    constants: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The graph of an ONNX model: the path of its file, its bytes, or a ``ModelProto``.

    ``shapes`` binds symbolic extents by name; the first extent of the inputs may stay open and is the
    batch ``N``, whatever the file calls it. ``constants`` are inputs that are given here, once for all
    calls. Raises ModelFileError with all nodes that cannot be served.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        model, folder, where = proto.read_file(path), path.parent, str(path)
    elif isinstance(source, bytes | bytearray | memoryview):
        model, folder, where = proto.read_bytes(bytes(source), "model in memory"), None, "model in memory"
    else:
        model, folder, where = source, None, "model in memory"
    try:
        return _Reader(model, folder, dict(shapes or {}), dict(constants or {})).graph()
    except NbcnnError as error:
        error.where = error.where or where
        raise


class NotConstant(ModelFileError):
    """Nodes need values as constants that are inputs, or computed from the inputs ``inputs``."""

    def __init__(self, message: str, *, inputs: set[str]) -> None:
        super().__init__(message)
        self.inputs = inputs


class _Reader:
    """Values, nodes and weights as they come; serves as the `Builder` of the rows."""

    def __init__(
        self,
        model: onnx.ModelProto,
        folder: Path | None,
        shapes: dict[str, int],
        constants: dict[str, np.ndarray],
    ) -> None:
        self.model = model
        self.folder = folder
        self.shapes = shapes
        self.constants = constants
        self.opset = _opset(model)
        self.inputs: dict[str, TensorType] = {}
        self.nodes: list[Node] = []
        self._types: dict[str, TensorType] = {}
        self._known: dict[str, Known] = {}
        self._origins: dict[str, bool] = {}  # constants of the file -> True; computed ones are not trainable
        self._alias: dict[str, str] = {}  # name in the file -> value
        self._taken: set[str] = set()
        self._lost: set[str] = set()  # results of nodes that could not be read
        self._folded = 0
        self.failures: list[str] = []
        self._wanted: set[str] = set()  # inputs that would have to be constants

    def graph(self) -> Graph:
        """The whole model."""
        graph = self.model.graph
        self._reserve(graph)
        for tensor in graph.initializer:
            type_, read = proto.tensor(tensor, self.folder)
            self._check_size(tensor.name, type_)
            self._add(tensor.name, Known(type_, (read,)))
            self._origins[tensor.name] = True
        types = signature.declared(self.model)
        for name, type_ in signature.bound(types, self.shapes).items():
            self._check_size(name, type_)
            if name in self.constants:
                self._add(name, Known.of(self.constants[name]))
            else:
                self.inputs[name] = type_
                self._add(name, None, type_)
        for node in graph.node:
            self._read(node)
        outputs = {o.name: o.name for o in graph.output}
        if self.failures:
            many = len(self.failures)
            head = f"{many} node{'s' * (many > 1)} cannot be read:"
            message = "\n  ".join([head, *self.failures])
            raise NotConstant(message, inputs=self._wanted) if self._wanted else ModelFileError(message)
        found = {public: self._resolve(name) for public, name in outputs.items()}
        weights = self._weights(found.values())
        name = graph.name if graph.name.strip() else "model"
        return Graph.build(name, self.inputs, self.nodes, weights, found, self._meta())

    # -- what the rows call ----------------------------------------------------------------------

    def type(self, value: str) -> TensorType:
        return self._types[self._resolve(value)]

    def known(self, value: str) -> Known | None:
        return self._known.get(self._resolve(value))

    def define(self, name: str, known: Known) -> None:
        self._check_size(name, known.type)
        self._add(name, known)

    def alias(self, name: str, value: str) -> None:
        self._alias[name] = self._resolve(value)

    def fresh(self, name: str) -> str:
        found, number = name, 0
        while found in self._taken:
            number += 1
            found = f"{name}.{number}"
        self._taken.add(found)
        return found

    def add(self, op: Op, operands: list[str], outputs: list[str]) -> None:
        """A node, or the constants that it computes when all its operands are known."""
        values = [self._resolve(v) for v in operands]
        data = op.data_count(len(values))
        types = [self._types[v] for v in values]
        node = Node(outputs[0], op, tuple(values), tuple(outputs))
        results = check_node(node, tuple(types[:data]), tuple(types[data:]))
        for name, type_ in zip(outputs, results, strict=True):
            self._check_size(name, type_)
        known = [self._known.get(v) for v in values]
        if all(known) and not any(t.symbols() for t in results):
            self._fold(op, known, outputs, results)  # type: ignore[arg-type]
            return
        for value, k in zip(values, known, strict=True):
            if k is not None and not k.fixed:
                raise Unsupported(
                    f"'{value}' depends on the batch and is read at run time: bind it (shapes=)"
                )
        self.nodes.append(node)
        for name, type_ in zip(outputs, results, strict=True):
            self._add(name, None, type_)

    # -- inside ----------------------------------------------------------------------------------

    def _fold(self, op: Op, known: list[Known], outputs: list[str], types: tuple[TensorType, ...]) -> None:
        self._folded += sum(t.nbytes() for t in types)
        if self._folded > MAX_FOLDED:
            raise Unsupported(f"the constants that the model computes take more than {MAX_FOLDED >> 30} GiB")
        for name, result in zip(outputs, evaluate(op.reference, known), strict=True):
            self._add(name, result)

    def _add(self, name: str, known: Known | None, type_: TensorType | None = None) -> None:
        if name in self._types or name in self._alias:
            raise ModelFileError(f"the name '{name}' is used twice")
        self._types[name] = known.type if known else type_  # type: ignore[assignment]
        if known:
            self._known[name] = known

    def _resolve(self, name: str) -> str:
        found = self._alias.get(name, name)
        if found not in self._types:
            raise ModelFileError(f"'{name}' is read before anything makes it (a cycle, or a missing node)")
        return found

    def _check_size(self, name: str, type_: TensorType) -> None:
        if (size := type_.nbytes()) > MAX_TENSOR:
            raise ModelFileError(f"'{name}' {type_} takes {size / 2**30:,.0f} GiB, over the limit of 16")

    def _reserve(self, graph: onnx.GraphProto) -> None:
        """Names of the file are not to be given to others."""
        self._taken.update(i.name for i in graph.input)
        self._taken.update(t.name for t in graph.initializer)
        self._taken.update(o for n in graph.node for o in n.output)

    def _read(self, node: onnx.NodeProto) -> None:
        """One node through its row; a failure is noted, and its results are lost."""
        names = [self._alias.get(v, v) for v in node.input]
        if any(v in self._lost for v in names) and node.op_type in IMPORT:
            self._lost.update(filter(None, node.output))
            return
        attributes: dict[str, Any] = {}
        try:
            attributes = proto.attributes(node)
            if node.domain not in DOMAINS or node.op_type not in IMPORT:
                kind = f"{node.domain}.{node.op_type}" if node.domain not in DOMAINS else node.op_type
                raise Unsupported(f"the operator {kind} is not served{nearest(node.op_type, IMPORT)}")
            inputs = [self._resolve(v) if v else "" for v in node.input]
            call = ReadCall(node.op_type, self.opset, node.name, inputs, list(node.output), attributes, self)
            IMPORT[node.op_type](call)
            call.checked()
            for name in filter(None, node.output):
                self._resolve(name)
        except NbcnnError as error:
            if isinstance(error, Computed):
                self._wanted |= self._inputs_above(error.value)
            self._lost.update(filter(None, node.output))
            shown = ", ".join(f"{k}={_short(v)}" for k, v in attributes.items())
            name = node.name or next(filter(None, node.output), "")
            self.failures.append(f"'{name}': {node.op_type}({shown}): {error.message}")

    def _inputs_above(self, value: str) -> set[str]:
        """The inputs that ``value`` is or is computed from."""
        makers = {v: node for node in self.nodes for v in node.outputs}
        pending, seen = [self._resolve(value)], set()
        while pending:
            if (at := pending.pop()) not in seen:
                seen.add(at)
                pending += makers[at].inputs if at in makers else ()
        return seen & self.inputs.keys()

    def _weights(self, outputs: Any) -> dict[str, Weight]:
        """The known values that nodes or outputs read."""
        trainable: dict[str, bool] = {}
        for node in self.nodes:
            for value in node.data:
                if value in self._known:
                    trainable.setdefault(value, self._origins.get(value, False))
            params = node.op.params(*(self._types[v] for v in node.data))
            for value, param in zip(node.weights, params.values(), strict=True):
                if value in self._known:
                    trainable[value] = param.trainable
        for value in outputs:
            if value in self._known:
                trainable.setdefault(value, False)
        weights = {}
        for value, flag in trainable.items():
            known = self._known[value]
            if not known.fixed:
                raise ModelFileError(f"output '{value}' depends on the batch alone: bind it (shapes=)")
            floating = np.dtype(known.type.dtype).kind == "f"
            weights[value] = Weight(known.type, known.arrays[0], flag and floating, origin="onnx")
        return weights

    def _meta(self) -> dict[str, Any]:
        text = self.model.doc_string or self.model.graph.doc_string
        return {"description": text} if text else {}


def _opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; raises ModelFileError for one that is not served."""
    versions = [o.version for o in model.opset_import if o.domain in DOMAINS]
    newest = proto.package().defs.onnx_opset_version()
    if len(versions) != 1 or not 1 <= versions[0] <= newest:
        raise ModelFileError(f"is of opset {versions or 'none'}; from {FIRST_OPSET} to {newest} are served")
    return versions[0]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
