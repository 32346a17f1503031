"""Blocks: named lists of node entries with parameters, expanded where they are used."""

from __future__ import annotations

from dataclasses import dataclass

from nbcnn.errors import nearest
from nbcnn.yaml_reader import PARAM_TYPES, Item, Key, known_keys

Given = dict[Key, Item]

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
            required = default.plain and default.value in PARAM_TYPES
            if key not in given:
                if required:
                    item.fail(f"block '{self.name}' needs the parameter '{key}'", node)
                values[key] = default
                continue
            values[key] = value = given[key]
            if (
                required and type(value.value) not in PARAM_TYPES[default.value]
            ):  # type(): a bool is no int here
                value.fail(f"parameter '{key}' must be {default.value}, got {value.kind}", node)
        return values


def names(item: Item, what: str) -> tuple[str, ...]:
    """A list of names."""
    return tuple(i.name(f"an entry of {what}") for i in item.sequence(what))


def key_of(text: str) -> Key:
    return Key(text)  # equal to the key that was read, which alone has a mark
