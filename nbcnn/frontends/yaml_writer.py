"""A graph to a model file: blocks expanded, one node a line, weights beside it as safetensors.

``load(save(graph))`` equals ``graph``: nodes, fused bodies, outputs, meta, and weights bit by bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nbcnn.errors import ModelFileError, NbcnnError
from nbcnn.frontends.weights import tensors
from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.op import Param
from nbcnn.ir.types import TensorType
from nbcnn.ops.fused import Fused
from nbcnn.yaml_reader import scalar

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


def save(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``, and its weights to the ``.safetensors`` beside it.

    Each file appears whole or not at all. Raises ModelFileError where it cannot be written.
    """
    from safetensors.numpy import save_file

    if path.suffix not in (".yaml", ".yml"):
        raise ModelFileError("the name of a model file must end in .yaml", where=str(path))
    arrays, metadata = tensors(graph.weights)  # all read before a file that they may come from is replaced
    weights = path.with_suffix(".safetensors")
    text = dump(graph, weights.name if arrays else None)
    if arrays:
        _replace(weights, lambda temporary: save_file(arrays, temporary, {"format": "nbcnn"} | metadata))
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def dump(graph: Graph, weights: str | None = None) -> str:
    """The text of the model file; ``weights`` is the name of the file with its weights."""
    types = graph.inputs | {k: w.type for k, w in graph.weights.items()}
    params: dict[str, Param] = {}
    nodes = _nodes(graph.nodes, types, list(graph.inputs), params, "  ")
    sections: dict[str, Any] = {"format": 1, "name": graph.name}
    if "description" in graph.meta:
        sections["description"] = graph.meta["description"]
    sections["inputs"] = {k: _type(t) for k, t in graph.inputs.items()}
    if constants := {k: _type(w.type) for k, w in graph.weights.items() if k not in params}:
        sections["constants"] = constants
    sections["nodes"] = nodes
    same = all(name == value for name, value in graph.outputs.items())
    sections["outputs"] = list(graph.outputs) if same else dict(graph.outputs)
    flags = {
        name: weight.trainable
        for name, weight in graph.weights.items()
        if weight.trainable != (name not in params or params[name].trainable)
    }
    if weights or flags:
        sections["weights"] = ({"file": weights} if weights else {}) | ({"trainable": flags} if flags else {})
    if "preprocess" in graph.meta:
        sections["preprocess"] = _fields(graph.meta["preprocess"])
    if "task" in graph.meta:
        task = graph.meta["task"]
        sections["task"] = {"kind": task.kind} | _fields(task)
    if "labels" in graph.meta:
        sections["labels"] = list(graph.meta["labels"])
    return "".join(
        f"{key}:\n{''.join(value)}" if key == "nodes" else f"{key}: {_flow(value)}\n"
        for key, value in sections.items()
    )


def _nodes(
    nodes: Iterable[Node],
    known: Mapping[str, TensorType],
    inputs: list[str],
    params: dict[str, Param],
    indent: str,
) -> list[str]:
    """Lines for ``nodes`` over values of ``known`` types; fills ``params`` with what they take."""
    types = dict(known)
    lines: list[str] = []
    above = inputs
    for node in nodes:
        op = node.op
        data = [types[v] for v in node.data]
        slots = op.params(*data)
        for name, param in zip(node.weights, slots.values(), strict=True):
            params.setdefault(name, param)
        types.update(zip(node.outputs, op.infer(*data), strict=True))
        entry: dict[str, Any] = {"name": node.name, "op": op.name}
        if len(op.operands) != 1 or op.variadic or len(inputs) != 1 or list(node.data) != above:
            entry["inputs"] = list(node.data)
        if node.outputs != (node.name,):
            entry["outputs"] = list(node.outputs)
        own = "" if isinstance(op, Fused) else f"{node.name}."
        renamed = {s: n for s, n in zip(slots, node.weights, strict=True) if n != own + s}
        weights = {"weights": renamed} if renamed else {}
        if isinstance(op, Fused):
            lines += _fused(op, entry | weights, node, data, indent)
        else:
            lines.append(f"{indent}- {_flow(entry | _fields(op) | weights)}\n")
        above = list(node.outputs)
    return lines


def _fused(op: Fused, entry: dict[str, Any], node: Node, data: list[TensorType], indent: str) -> list[str]:
    """A fused node: its own keys, a line each, and its body's nodes below."""
    body = op.body
    params: dict[str, Param] = {}
    types = dict(zip(body.inputs, data, strict=True))
    nodes = _nodes(body.nodes, types, list(body.inputs), params, f"{indent}      ")
    lines = [f"{key}: {_flow(value)}\n" for key, value in entry.items()]
    lines.append("body:\n")
    if body.inputs != node.data:
        lines.append(f"  inputs: {_flow(list(body.inputs))}\n")
    if body.weights != tuple(params):
        lines.append(f"  weights: {_flow(list(body.weights))}\n")
    if body.outputs != body.nodes[-1].outputs:
        lines.append(f"  outputs: {_flow(list(body.outputs))}\n")
    lines.append("  nodes:\n")
    return [f"{indent}{'  ' if i else '- '}{line}" for i, line in enumerate(lines)] + nodes


def _fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as short as they can be: no defaults, one number for equal ones."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if _means(record, field.name, field.default):
            continue
        if isinstance(value, tuple) and value and _means(record, field.name, value[0]):
            value = value[0]
        found[field.name] = value
    return found


def _means(record: Any, field: str, value: Any) -> bool:
    """Whether ``value`` for ``field`` makes the same record."""
    if value is dataclasses.MISSING:
        return False
    try:
        return bool(dataclasses.replace(record, **{field: value}) == record)
    except (NbcnnError, TypeError):
        return False


def _type(type_: TensorType) -> Any:
    shape = list(type_.shape)
    return shape if type_.dtype == "float32" else {"shape": shape, "dtype": type_.dtype}


def _flow(value: Any) -> str:
    """Data as one line of YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(k)}: {_flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A string, in quotes where it could be read as something else."""
    if _PLAIN.fullmatch(text) and isinstance(scalar(text), str):
        return text
    escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and put it in its place in one step."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        temporary.touch()  # fails with the plain reason where the folder does
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # safetensors makes files that only their owner may read
        temporary.replace(path)
    except Exception as error:  # safetensors has an error class of its own for a failed write
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ModelFileError(f"cannot be written: {reason}", where=str(path)) from None
