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

MAX_NODES = 50_000
MAX_ROUNDS = 4
"""Bodies of the standard's functions call others, not deeper than this."""

MAX_COPIED = 1 << 10

Key = tuple[str, str]


def inlined(model: onnx.ModelProto, served: Callable[[str, str], bool]) -> onnx.ModelProto:
    """``model`` without calls of functions; ``served(domain, operator)`` tells what rows read.

    Raises ModelFileError for functions that call themselves, or that would make too many nodes.
    """
    _check(model)
    local = {(f.domain, f.name) for f in model.functions}
    small = model
    if local & _used(model):
        small = _local(_without_weights(small))
    for _ in range(MAX_ROUNDS):
        wanted = [k for k in sorted(_used(small)) if not served(*k) and _is_function(small, k)]
        if not wanted:
            break
        small = _standard(_without_weights(small), wanted)
    if small is not model:
        del small.graph.initializer[:]
        small.graph.initializer.extend(model.graph.initializer)
    return small


def _used(model: onnx.ModelProto) -> set[Key]:
    """The operators of the graph and its subgraphs."""
    return {(n.domain, n.op_type) for n in proto.nodes(model.graph.node)}


def _local(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the bodies of its own functions; ``model`` itself is changed."""
    _align(model)
    try:
        return proto.package().inliner.inline_local_functions(model)
    except Exception as error:  # from C++, of whatever class
        raise ModelFileError(f"functions cannot be inlined: {' '.join(str(error).split())}") from None


def _align(model: onnx.ModelProto) -> None:
    """Give functions the opset of the model where that changes none of their nodes: others stay calls."""
    wanted = {o.domain: o.version for o in model.opset_import}
    for function in model.functions:
        for opset in function.opset_import:
            new = wanted.get(opset.domain, opset.version)
            kinds = {n.op_type for n in proto.nodes(function.node) if n.domain == opset.domain}
            if all(_since(k, new, opset.domain) == _since(k, opset.version, opset.domain) for k in kinds):
                opset.version = new


def _since(kind: str, version: int, domain: str) -> int | None:
    """The opset that brought the form which the operator has in ``version``."""
    defs = proto.package().defs
    try:
        return defs.get_schema(kind, version, domain).since_version
    except defs.SchemaError:
        return None


def _standard(model: onnx.ModelProto, wanted: list[Key]) -> onnx.ModelProto:
    """``model`` with the bodies that the standard gives ``wanted``, or as it is where they need types
    that are not to be had: such nodes are reported as not served."""
    package = proto.package()
    try:
        typed = package.shape_inference.infer_shapes(model)
        return package.inliner.inline_selected_functions(typed, wanted, inline_schema_functions=True)
    except Exception:  # from C++, of whatever class
        return model


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, large initialisers reduced to their types: the inliner copies what it is given."""
    small = proto.package().ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _assign(small, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _assign(small.graph, field.name, value)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= MAX_COPIED:
            small.graph.initializer.add().CopyFrom(tensor)  # shapes may depend on it
        else:
            small.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    return small


def _assign(message: Any, field: str, value: Any) -> None:
    if hasattr(value, "extend") or hasattr(value, "add"):
        getattr(message, field).extend(value)
    elif hasattr(value, "ListFields"):
        getattr(message, field).CopyFrom(value)
    else:
        setattr(message, field, value)


def _check(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, call too deep, or unfold to too many nodes."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    if len(bodies) < len(model.functions):
        raise ModelFileError("two functions bear the same name")
    sizes: dict[Key, int] = {}

    def size(key: Key, stack: tuple[Key, ...]) -> int:
        if key in stack:
            raise ModelFileError(f"function '{key[1]}' calls itself")
        if len(stack) >= proto.MAX_DEPTH:
            raise ModelFileError(f"functions call each other more than {proto.MAX_DEPTH} deep")
        if key not in sizes:
            sizes[key] = unfolded(bodies[key].node, (*stack, key))
        return sizes[key]

    def unfolded(nodes: Iterable[onnx.NodeProto], stack: tuple[Key, ...]) -> int:
        total = 0
        for node in proto.nodes(nodes):
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
