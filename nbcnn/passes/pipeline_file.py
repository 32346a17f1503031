"""Reading the YAML file of a pipeline: its options, what it includes, and where a mistake stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbcnn import yaml_reader
from nbcnn.errors import PassError, nearest
from nbcnn.passes.pipeline import Origin, Pipeline, steps
from nbcnn.yaml_reader import PARAM_TYPES, Item, Key


def read(path: Path, options: Mapping[str, Any], origin: Origin) -> Pipeline:
    """The pipeline of the file at ``path``, its declared options set to ``options``."""
    place = path.resolve()
    if place in origin.stack:
        chain = " -> ".join(p.name for p in (*origin.stack[origin.stack.index(place) :], place))
        raise PassError(f"a pipeline includes itself: {chain}")
    root = yaml_reader.read(path)
    given = root.mapping("a pipeline")
    yaml_reader.known_keys(given, ["format", "description", "options", "passes"], "a pipeline")
    for key in ("format", "passes"):
        if key not in given:
            root.fail(f"a pipeline needs '{key}'")
    if (version := given[Key("format")]).value != 1:
        version.fail(f"format must be 1, got {version.kind}")
    words = given.get(Key("description"))
    declared = given[Key("options")].mapping("options") if "options" in given else {}
    what = f"pipeline '{path.stem}'"
    passes = yaml_reader.substituted(given[Key("passes")], _values(declared, options, what), what)
    here = Origin(path.parent, (*origin.stack, place))
    return Pipeline(
        tuple(steps(passes.sequence("passes"), here)),
        path.stem,
        words.string("description") if words else "",
    )


def _values(declared: dict[Key, Item], options: Mapping[str, Any], what: str) -> dict[str, Item]:
    """What ``$option`` stands for: the default that was declared, or what was given, of the same type."""
    for name in options:
        if name not in declared:
            hint = nearest(name, declared) if declared else "; it has none"
            raise PassError(f"{what} has no option '{name}'{hint}")
    values: dict[str, Item] = {}
    for name, default in declared.items():
        if isinstance(default.value, dict | list):
            default.fail(f"option '{name}' must be a number, a word or true or false, got {default.kind}")
        required = default.plain and default.value in PARAM_TYPES
        if name not in options:
            if required:
                raise PassError(f"{what} needs the option '{name}'")
            values[name] = default
            continue
        value = options[name]
        kinds = PARAM_TYPES[default.value] if required else _like(default.value)
        if type(value) not in kinds:  # type(): a bool is no int here
            names = " or ".join(k.__name__ for k in kinds)
            raise PassError(f"{what}, option '{name}': expected {names}, got {value!r}")
        values[name] = Item(value, default.mark)
    return values


def _like(default: object) -> tuple[type, ...]:
    """The types of values that may stand for ``default``."""
    if default is None:
        return PARAM_TYPES["any"][:-1]
    return PARAM_TYPES["float"] if type(default) is float else (type(default),)
