"""An ONNX model to a graph.

Files are not trusted. Reading takes time and memory in proportion to the file, at most 1 GiB for constants
that the model computes (`builder.MAX_FOLDED`), and refuses what is beyond its limits: tensors above 16 GiB,
more than 50,000 nodes, functions that call themselves, data outside the folder of the model. Stored tensors
are read when they are first used; those in files of their own are mapped, not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.errors import ModelFileError, NbcnnError, nearest
from nbcnn.frontends.onnx import proto, signature
from nbcnn.frontends.onnx.builder import GraphBuilder
from nbcnn.frontends.onnx.functions import inlined
from nbcnn.frontends.onnx.known import Known
from nbcnn.frontends.onnx.read import Computed, ReadCall, Unsupported
from nbcnn.frontends.onnx.table import IMPORT
from nbcnn.ir.graph import Graph

if TYPE_CHECKING:
    import onnx

FIRST_OPSET = 6
DOMAINS = ("", "ai.onnx")
MAX_NESTED = 16
MEMORY = "model in memory"


class NotConstant(ModelFileError):
    """Nodes need values as constants that are, or are computed from, the inputs ``inputs``."""

    def __init__(self, message: str, *, inputs: set[str], details: Sequence[str] = ()) -> None:
        super().__init__(message, details=details)
        self.inputs = inputs


def load(
    source: str | Path | bytes | Any,
    *,
    shapes: Mapping[str, int] | None = None,
    constants: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The graph of an ONNX model: the path of its file, its bytes, or a ``ModelProto``.

    ``shapes`` binds symbolic extents by name; the first extent of the inputs may stay open and is the
    batch ``N``, whatever the file calls it. ``constants`` are the values of inputs that are the same in
    every call, and are no inputs of the graph then. Raises ModelFileError, with all nodes that cannot be
    served, a line for each; NotConstant where constants would mend it.
    """
    where = MEMORY
    try:
        if isinstance(source, str | Path):
            path, where = Path(source), str(source)
            model, folder = proto.read_file(path), path.parent
        elif isinstance(source, bytes | bytearray | memoryview):
            model, folder = proto.read_bytes(bytes(source)), None
        else:
            model, folder = source, None
        return _Reader(model, folder).graph(dict(shapes or {}), dict(constants or {}))
    except NbcnnError as error:
        error.where = error.where or where
        raise


class _Reader:
    """Reads nodes in order through their rows, and notes which of them cannot be served."""

    def __init__(self, model: onnx.ModelProto, folder: Path | None) -> None:
        proto.check(model)
        self.opset = _opset(model)
        self.model = inlined(model, lambda domain, kind: domain in DOMAINS and kind in IMPORT)
        self.folder = folder
        self.values = GraphBuilder()
        self.failures: list[str] = []
        self.wanted: set[str] = set()  # inputs that would have to be constants
        self._lost: set[str] = set()  # results of nodes that could not be read
        self._depth = 0

    def graph(self, shapes: dict[str, int], constants: dict[str, np.ndarray]) -> Graph:
        """The whole model."""
        graph, types = self.model.graph, signature.declared(self.model)
        self._reserve(graph)
        for name, type_ in signature.bound(types, shapes, constants).items():
            if name in constants:
                self.values.define(name, Known.of(np.asarray(constants[name])))
            else:
                self.values.input(name, type_)
        self._read_all(graph)
        if self.failures:
            many = len(self.failures)
            message = f"{many} node{'s' * (many > 1)} cannot be read:"
            if self.wanted:
                raise NotConstant(message, inputs=self.wanted, details=self.failures)
            raise ModelFileError(message, details=self.failures)
        outputs = {o.name: o.name for o in graph.output}
        if len(outputs) < len(graph.output):
            raise ModelFileError("two outputs bear the same name")
        text = self.model.doc_string or graph.doc_string
        name = graph.name if graph.name.strip() and graph.name.isprintable() else "model"
        return self.values.build(name, outputs, {"description": text} if text else {})

    def subgraph(self, graph: onnx.GraphProto) -> list[str]:
        """Read the nodes of a subgraph where it stands; returns the values of its outputs."""
        if self._depth >= MAX_NESTED:
            raise Unsupported(f"graphs nest more than {MAX_NESTED} deep")
        self._depth += 1
        try:
            self._reserve(graph)
            self._read_all(graph)
        finally:
            self._depth -= 1
        if lost := [o.name for o in graph.output if o.name in self._lost]:
            raise Unsupported(f"'{lost[0]}' inside it cannot be read")
        return [self.values.resolve(o.name) for o in graph.output]

    def _reserve(self, graph: onnx.GraphProto) -> None:
        taken = self.values.taken
        taken.update(i.name for i in graph.input)
        taken.update(t.name for t in graph.initializer)
        taken.update(o for n in graph.node for o in n.output)

    def _read_all(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self.values.store(tensor.name, *proto.tensor(tensor, self.folder))
        if graph.sparse_initializer:
            raise ModelFileError("sparse initialisers are not served")
        for node in graph.node:
            self._read(node)

    def _read(self, node: onnx.NodeProto) -> None:
        """One node through its row; a failure is noted, and its results are lost."""
        served = node.domain in DOMAINS and node.op_type in IMPORT
        if served and any(v in self._lost for v in node.input):
            self._lost.update(filter(None, node.output))
            return
        attributes: dict[str, Any] = {}
        try:
            attributes = proto.attributes(node)
            if not served:
                kind = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
                raise Unsupported(f"the operator {kind} is not served{nearest(node.op_type, IMPORT)}")
            if _changed(node.op_type, self.opset):
                raise Unsupported(f"its form of opset {self.opset}: from {FIRST_OPSET} on are served")
            self._apply(node, attributes)
        except NbcnnError as error:
            if isinstance(error, Computed):
                self.wanted |= self.values.inputs_above(error.value)
            self._lost.update(filter(None, node.output))
            self.failures.append(_line(node, attributes, error.message))

    def _apply(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        inputs = [self.values.resolve(v) if v else "" for v in node.input]
        call = ReadCall(
            node.op_type,
            max(self.opset, FIRST_OPSET),
            node.name,
            inputs,
            list(node.output),
            attributes,
            self.values,
            self.subgraph,
        )
        try:
            IMPORT[node.op_type](call)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # A row may trip over operands that no model should have: that is the file's fault too.
            raise Unsupported(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
        call.checked()
        for name in filter(None, node.output):
            self.values.resolve(name)


def _line(node: onnx.NodeProto, attributes: Mapping[str, Any], reason: str) -> str:
    """``'conv1' Conv(group=2, pads=(1, 1, 1, 1)): the reason``, without control characters."""
    shown = ", ".join(f"{k}={_short(v)}" for k, v in attributes.items())
    name = node.name or next(filter(None, node.output), "")
    return _printable(f"'{name}' {node.op_type}({shown}): {reason}")


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    text = "graph" if hasattr(value, "node") else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; raises ModelFileError for one that is not served."""
    versions = sorted({o.version for o in model.opset_import if o.domain in DOMAINS})
    newest = proto.package().defs.onnx_opset_version()
    if len(versions) != 1 or not 1 <= versions[0] <= newest:
        found = ", ".join(map(str, versions)) or "none"
        raise ModelFileError(f"is of opset {found}; from {FIRST_OPSET} to {newest} are served")
    return versions[0]


def _changed(kind: str, opset: int) -> bool:
    """Whether the operator of an opset below the first that is served has other meanings there."""
    if opset >= FIRST_OPSET:
        return False
    defs = proto.package().defs
    try:
        return defs.get_schema(kind, FIRST_OPSET).since_version > opset
    except defs.SchemaError:
        return True
