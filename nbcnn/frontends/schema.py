"""Attributes checked against the fields of operator dataclasses, and the JSON schema made from them.

pydantic does both, strictly (true is no number, "3" no 3). It is imported when the first model is
loaded, and one small model class is built per operator that occurs.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from nbcnn import ops
from nbcnn.errors import NbcnnError, nearest
from nbcnn.ir.op import Op
from nbcnn.yaml_reader import Item, Key, Mark

if TYPE_CHECKING:
    from pydantic import BaseModel


@cache
def attributes(cls: type) -> type[BaseModel]:
    """A pydantic model with the fields of dataclass ``cls``."""
    from pydantic import ConfigDict, create_model

    hints = typing.get_type_hints(cls)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        default = ... if field.default is dataclasses.MISSING else field.default
        fields[field.name] = (hints[field.name], default)
    config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
    return create_model(cls.__name__, __config__=config, **fields)


def build(cls: type, what: str, given: Mapping[Key, Item], mark: Mark, node: str | None = None) -> Any:
    """An instance of dataclass ``cls`` (``what`` to the user) from the entries ``given``.

    Raises NbcnnError that points at the entry that is unknown or of the wrong type, or at ``mark``.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in given:
        if key not in fields:
            key.mark.fail(f"{what} has no attribute '{key}'{nearest(key, fields)}", node)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given:
            mark.fail(f"{what} needs the attribute '{name}'", node)
    values = {str(key): item.data() for key, item in given.items()}
    if values:
        values = _checked(cls, values, given, node)
    try:
        return cls(**values)
    except NbcnnError as error:
        error.node, error.where = error.node or node, error.where or str(mark)
        raise


def _checked(
    cls: type, values: dict[str, Any], given: Mapping[Key, Item], node: str | None
) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        checked = attributes(cls).model_validate(values)
    except ValidationError as error:
        name = str(error.errors(include_url=False)[0]["loc"][0])
        item = next(item for key, item in given.items() if key == name)
        hint = typing.get_type_hints(cls)[name]
        item.fail(f"{name} must be {described(hint)}, got {item.kind}", node)
    return {name: getattr(checked, name) for name in values}


def op(name: Item, given: Mapping[Key, Item], mark: Mark, node: str) -> Op:
    """The operator that ``name`` and its attributes describe."""
    word = name.string("op")
    try:
        cls = ops.get(word)
    except NbcnnError as error:
        name.fail(error.message, node)
    return build(cls, word, given, mark, node)


def described(hint: Any) -> str:
    """A type in words: ``a whole number or 2 whole numbers``."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if hint in words:
        return words[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(f"'{a}'" for a in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(a) for a in args)
    if origin is tuple:
        count = "a list of" if args[-1] is ... else f"{len(args)}"
        return f"{count} {'whole numbers' if args[0] is int else 'values'}"
    if origin is dict:
        return f"a mapping, each to {described(args[1])}"
    return getattr(hint, "__name__", str(hint))


# -- the JSON schema for editors ---------------------------------------------------------------------

_NAME = {"type": ["string", "integer"]}
_NAMES = {"type": "array", "items": _NAME}
_PARAMETER = {"type": "string", "pattern": "^\\$", "description": "a parameter of the block"}
_SHAPE = {"type": "array", "items": {"type": ["integer", "string"]}}
_TYPE = {
    "anyOf": [
        _SHAPE,
        {
            "type": "object",
            "properties": {"shape": _SHAPE, "dtype": {"type": "string"}},
            "required": ["shape"],
            "additionalProperties": False,
        },
    ]
}


def json_schema() -> dict[str, Any]:
    """The JSON schema of model files, for completion and checking in editors."""
    from nbcnn.frontends.preprocess import Preprocess
    from nbcnn.frontends.tasks import TASKS

    nodes = {"type": "array", "items": {"$ref": "#/$defs/node"}}
    outputs = {"anyOf": [_NAMES, {"type": "object", "additionalProperties": _NAME}]}
    body = _object({"inputs": _NAMES, "weights": _NAMES, "nodes": nodes, "outputs": _NAMES}, ["nodes"])
    entries = [_entry(name, body) for name in ops.OPS]
    instance = {
        "type": "object",
        "properties": {
            "name": _NAME,
            "block": {"type": "string"},
            "inputs": _NAMES,
            "repeat": {"anyOf": [{"type": "integer", "minimum": 1}, _PARAMETER]},
            "start": {"anyOf": [{"type": "integer", "minimum": 0}, _PARAMETER]},
        },
        "required": ["name", "block"],
    }
    by_parameter = {
        "type": "object",
        "properties": {"name": _NAME, "op": _PARAMETER, "inputs": _NAMES, "outputs": _NAMES},
        "required": ["name", "op"],
    }
    block = _object(
        {"params": {"type": "object"}, "inputs": _NAMES, "nodes": nodes, "outputs": _NAMES}, ["nodes"]
    )
    root = _object(
        {
            "format": {"const": 1},
            "name": _NAME,
            "description": {"type": "string"},
            "inputs": {"type": "object", "additionalProperties": _TYPE, "minProperties": 1},
            "constants": {"type": "object", "additionalProperties": _TYPE},
            "blocks": {"type": "object", "additionalProperties": block},
            "nodes": nodes,
            "outputs": outputs,
            "expect": _object(
                {"params": {"type": "integer"}, "macs": {"type": "integer"}, "outputs": {"type": "object"}}
            ),
            "weights": _object(
                {"file": {"type": "string"}, "map": {"type": "object"}, "trainable": {"type": "object"}}
            ),
            "preprocess": _settings(Preprocess),
            "task": {
                "anyOf": [{"enum": list(TASKS)}, *(_settings(cls, kind) for kind, cls in TASKS.items())]
            },
            "labels": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]
            },
        },
        ["format", "name", "inputs", "nodes"],
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nbcnn model",
        **root,
        "$defs": {"node": {"anyOf": [*entries, by_parameter, instance]}},
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _settings(cls: type, kind: str | None = None) -> dict[str, Any]:
    """The schema of a section that dataclass ``cls`` describes, with the ``kind`` that chose it."""
    found = attributes(cls).model_json_schema()
    if kind:
        found["properties"] = {"kind": {"const": kind}} | found.get("properties", {})
        found["required"] = ["kind", *found.get("required", [])]
    return found


def _entry(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """The schema of a node of op ``name``; a block's parameter may stand for an attribute, or part of one."""
    weights = {"type": "object", "additionalProperties": _NAME}
    properties: dict[str, Any] = {
        "name": _NAME,
        "op": {"const": name},
        "inputs": _NAMES,
        "outputs": _NAMES,
        "weights": weights,
    }
    required = ["name", "op"]
    if name == "fused":
        properties["body"] = body
        required.append("body")
    else:
        own = attributes(ops.get(name)).model_json_schema()
        for key, value in own.get("properties", {}).items():
            properties[key] = _or_parameter(value)
        required += own.get("required", [])
    return {"title": name} | _object(properties, required)


def _or_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema``, or a parameter in its place or in that of any entry of a list."""
    inner = dict(schema)
    if isinstance(items := schema.get("items"), dict):
        inner["items"] = _or_parameter(items)
    for key in ("anyOf", "prefixItems"):
        if key in schema:
            inner[key] = [_or_parameter(part) for part in schema[key]]
    return {"anyOf": [inner, _PARAMETER]}
