"""Calls of functions, replaced by their bodies with onnx's own inliner.

Functions are those that the model brings along, and operators of ONNX that its standard defines by others
and that no row reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nbcnn.errors import ModelFileError
from nbcnn.frontends.onnx import proto

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 64
MAX_NODES = 50_000

Key = tuple[str, str]


def inlined(model: onnx.ModelProto, served: Callable[[str, str], bool]) -> onnx.ModelProto:
    """``model`` without calls of functions; ``served(domain, operator)`` tells what rows read.

    Raises ModelFileError for functions that call themselves, or that would make too many nodes.
    """
    package = proto.package()
    _check(model)
    used = {
        (n.domain, n.op_type)
        for n in _nodes([*model.graph.node, *(n for f in model.functions for n in f.node)])
    }
    local = {(f.domain, f.name) for f in model.functions}
    wanted = [key for key in used - local if not served(*key) and _is_function(model, key)]
    if not (used & local or wanted):
        return model
    slim = package.ModelProto()
    slim.CopyFrom(_without_weights(model))
    try:
        if used & local:
            slim = package.inliner.inline_local_functions(slim)
        if wanted:
            # Without types, functions that depend on them would stay.
            slim = package.shape_inference.infer_shapes(slim)
            slim = package.inliner.inline_selected_functions(slim, wanted, inline_schema_functions=True)
    except Exception as error:  # from C++, of whatever class
        raise ModelFileError(f"functions cannot be inlined: {' '.join(str(error).split())}") from None
    del slim.graph.initializer[:]
    slim.graph.initializer.extend(model.graph.initializer)
    return slim


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, its initialisers reduced to their types: the inliner copies what it is given."""
    small = proto.package().ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _assign(small, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _assign(small.graph, field.name, value)
    for tensor in model.graph.initializer:
        small.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    return small


def _assign(message: Any, field: str, value: Any) -> None:
    if hasattr(value, "extend") or hasattr(value, "add"):
        getattr(message, field).extend(value)
    elif hasattr(value, "ListFields"):
        getattr(message, field).CopyFrom(value)
    else:
        setattr(message, field, value)


def _nodes(nodes: Iterable[onnx.NodeProto], depth: int = 0) -> list[onnx.NodeProto]:
    """The nodes and those of their subgraphs."""
    if depth > MAX_DEPTH:
        raise ModelFileError(f"graphs nest more than {MAX_DEPTH} deep")
    found: list[onnx.NodeProto] = []
    for node in nodes:
        found.append(node)
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for graph in inner:
                found += _nodes(graph.node, depth + 1)
    return found


def _check(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, call too deep, or unfold to too many nodes."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    if len(bodies) < len(model.functions):
        raise ModelFileError("two functions bear the same name")
    sizes: dict[Key, int] = {}

    def size(key: Key, stack: tuple[Key, ...]) -> int:
        if key in stack:
            raise ModelFileError(f"function '{key[1]}' calls itself")
        if len(stack) >= MAX_DEPTH:
            raise ModelFileError(f"functions call each other more than {MAX_DEPTH} deep")
        if key not in sizes:
            sizes[key] = unfolded(bodies[key].node, (*stack, key))
        return sizes[key]

    def unfolded(nodes: Iterable[onnx.NodeProto], stack: tuple[Key, ...]) -> int:
        total = 0
        for node in _nodes(nodes):
            key = (node.domain, node.op_type)
            total += size(key, stack) if key in bodies else 1
        if total > MAX_NODES:
            raise ModelFileError(f"has more than {MAX_NODES:,} nodes when its functions are unfolded")
        return total

    unfolded(model.graph.node, ())
    for key in bodies:
        size(key, ())


def _is_function(model: onnx.ModelProto, key: Key) -> bool:
    """Whether ONNX's standard defines the operator by others."""
    package = proto.package()
    domain, kind = key
    version = next((o.version for o in model.opset_import if o.domain == domain), None)
    if version is None and domain == "ai.onnx":
        version = next((o.version for o in model.opset_import if o.domain == ""), None)
    if version is None:
        return False
    try:
        schema = package.defs.get_schema(kind, version, "" if domain == "ai.onnx" else domain)
    except package.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)
