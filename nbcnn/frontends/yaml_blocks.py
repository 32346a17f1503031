"""Blocks: named lists of node entries with parameters, expanded where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nbcnn.errors import nearest
from nbcnn.yaml_reader import Item, Key, known_keys

Given = dict[Key, Item]

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "any": (int, float, bool, str, list),
}
"""Words that declare a parameter of a block without a default, and what it may then be."""

_INSTANCE_KEYS = ("name", "block", "inputs", "outputs", "repeat", "start")


@dataclass(frozen=True)
class Block:
    """A named list of node entries with parameters: a macro, expanded where it is used."""

    name: str
    params: Given
    inputs: tuple[str, ...]
    entries: list[Item]
    outputs: list[Item] | None

    @classmethod
    def of(cls, name: Key, item: Item) -> Block:
        given = item.mapping(f"block '{name}'")
        known_keys(given, ["params", "inputs", "nodes", "outputs"], f"block '{name}'")
        if "nodes" not in given:
            item.fail(f"block '{name}' needs 'nodes'")
        params = given[key_of("params")].mapping("params") if "params" in given else {}
        for key in params:
            if key in _INSTANCE_KEYS:
                key.mark.fail(f"'{key}' cannot be a parameter: every use of a block has a key of that name")
        inputs = names(given[key_of("inputs")], "inputs") if "inputs" in given else ("x",)
        outputs = given[key_of("outputs")].sequence("outputs") if "outputs" in given else None
        return cls(str(name), params, inputs, given[key_of("nodes")].sequence("nodes"), outputs)

    def arguments(self, given: Given, item: Item, node: str) -> dict[str, Item]:
        """The value of each parameter for one use of the block."""
        for key in given:
            if key not in self.params:
                key.mark.fail(
                    f"block '{self.name}' has no parameter '{key}'{nearest(key, self.params)}", node
                )
        values: dict[str, Item] = {}
        for key, default in self.params.items():
            required = default.plain and default.value in _TYPES
            if key not in given:
                if required:
                    item.fail(f"block '{self.name}' needs the parameter '{key}'", node)
                values[key] = default
                continue
            values[key] = value = given[key]
            if required and type(value.value) not in _TYPES[default.value]:  # type(): a bool is no int here
                value.fail(f"parameter '{key}' must be {default.value}, got {value.kind}", node)
        return values


def names(item: Item, what: str) -> tuple[str, ...]:
    """A list of names."""
    return tuple(i.name(f"an entry of {what}") for i in item.sequence(what))


def key_of(text: str) -> Key:
    return Key(text)  # equal to the key that was read, which alone has a mark


def substituted(item: Item, values: Mapping[str, Item], stack: tuple[str, ...]) -> Item:
    """``item`` with each scalar that is exactly ``$param`` replaced by the parameter's value."""
    value = item.value
    if isinstance(value, str):
        if not (item.plain and value.startswith("$")):
            return item
        if value[1:] not in values:
            where = f"block '{stack[-1]}'" if stack else "a node outside blocks"
            item.fail(f"{where} has no parameter '{value}'{nearest(value[1:], values)}")
        return values[value[1:]]
    if isinstance(value, list):
        new = [substituted(i, values, stack) for i in value]
        return item if all(a is b for a, b in zip(new, value, strict=True)) else replace(item, value=new)
    if isinstance(value, dict):
        entries = {k: substituted(i, values, stack) for k, i in value.items()}
        return item if all(entries[k] is i for k, i in value.items()) else replace(item, value=entries)
    return item
