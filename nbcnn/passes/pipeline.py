"""Pipelines: passes in order, with fixpoint groups; one spec as YAML, as text and as Python.

A pipeline file (``passes/*.yaml``)::

    format: 1
    description: what it is for
    passes:
      - fold-constants
      - prune: {sparsity: 0.9}
      - repeat: {until: unchanged, max: 8, passes: [fuse-conv-bn, remove-dead]}

is as text ``fold-constants, prune{sparsity=0.9}, repeat{passes=[fuse-conv-bn, remove-dead]}`` and in Python
``[FoldConstants(), Prune(sparsity=0.9), Repeat((FuseConvBn(), RemoveDead()))]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbcnn import resources, yaml_reader
from nbcnn.errors import PassError, nearest
from nbcnn.passes import table, text
from nbcnn.passes.base import Pass
from nbcnn.yaml_reader import Item, Key


@dataclass(frozen=True)
class Repeat:
    """A group that runs again until it changes nothing, at most ``max`` times."""

    passes: tuple[Step, ...]
    max: int = 8

    def data(self) -> dict[str, dict[str, Any]]:
        """The spec as YAML holds it."""
        most = {} if self.max == 8 else {"max": self.max}
        return {"repeat": most | {"passes": [step.data() for step in self.passes]}}


Step = Pass | Repeat


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of steps."""

    steps: tuple[Step, ...]
    name: str = ""
    description: str = ""

    @classmethod
    def of(cls, passes: Any) -> Pipeline:
        """A pipeline from a shipped name, the path of a YAML file, text, a pass, or a list of these.

        In a list each item is a pass, its class, a Repeat, text, or data as YAML holds it.
        """
        if isinstance(passes, Pipeline):
            return passes
        if isinstance(passes, Path):
            return cls.read(passes)
        if isinstance(passes, str):
            return cls._from_word(passes)
        if isinstance(passes, Pass | Repeat | type | Mapping):
            passes = [passes]
        return cls(tuple(_steps(passes)))

    @classmethod
    def _from_word(cls, word: str) -> Pipeline:
        if word.endswith((".yaml", ".yml")):
            return cls.read(Path(word))
        if word in (known := resources.names("passes")):
            return cls.read(resources.find("passes", word))
        data = text.parse(word)
        if data == [word] and word not in table.PASSES:
            raise PassError(f"unknown pipeline or pass '{word}'{nearest(word, [*known, *table.PASSES])}")
        return cls(tuple(_steps(data)))

    @classmethod
    def read(cls, path: Path) -> Pipeline:
        """The pipeline of a YAML file; an error names the line and column at fault."""
        root = yaml_reader.read(path)
        given = root.mapping("a pipeline")
        yaml_reader.known_keys(given, ["format", "description", "passes"], "a pipeline")
        for key in ("format", "passes"):
            if key not in given:
                root.fail(f"a pipeline needs '{key}'")
        if (version := given[Key("format")]).value != 1:
            version.fail(f"format must be 1, got {version.kind}")
        words = given.get(Key("description"))
        description = words.string("description") if words else ""
        return cls(tuple(_steps(given[Key("passes")].sequence("passes"))), path.stem, description)

    def data(self) -> list[Any]:
        """The list that ``passes:`` of a YAML file holds."""
        return [step.data() for step in self.steps]

    def yaml(self) -> str:
        """The pipeline as the text of a YAML file."""
        head = f"description: {json.dumps(self.description)}\n" if self.description else ""
        lines = "".join(f"  - {json.dumps(item)}\n" for item in self.data())  # JSON is YAML
        return f"format: 1\n{head}passes:{chr(10) + lines if lines else ' []' + chr(10)}"

    def __str__(self) -> str:
        return text.dump(self.data())


def _steps(items: Iterable[Any]) -> Iterator[Step]:
    for item in items:
        data = _opened(item) if isinstance(item, Item) else item
        try:
            if isinstance(data, str):
                yield from map(_step, text.parse(data))
            else:
                yield _step(data)
        except PassError as error:
            if isinstance(item, Item):
                error.where = error.where or str(item.mark)
            raise


def _opened(item: Item) -> Any:
    """The data of an item of a file, in which the passes of a repeat keep their places."""
    data = item.data()
    match data:
        case {"repeat": {"passes": [*_]} as options}:
            options["passes"] = item.value["repeat"].value["passes"].value
    return data


def _step(item: Any) -> Step:
    if isinstance(item, Pass | Repeat):
        return item
    if isinstance(item, type) and issubclass(item, Pass):
        return item.of({})
    if isinstance(item, str):
        return table.get(item).of({})
    if not isinstance(item, Mapping) or len(item) != 1:
        raise PassError(f"a pass is a name or 'name: {{option: value}}', got {item!r}")
    ((name, options),) = item.items()
    if not isinstance(options, Mapping):
        raise PassError(f"the options of '{name}' must be a mapping, got {options!r}")
    return _repeat(options) if name == "repeat" else table.get(name).of(options)


def _repeat(options: Mapping[str, Any]) -> Repeat:
    keys = ("until", "max", "passes")
    for key in options:
        if key not in keys:
            raise PassError(f"repeat has no option '{key}'{nearest(key, keys)}")
    if options.get("until", "unchanged") != "unchanged":
        raise PassError(f"repeat runs until: unchanged, got {options['until']!r}")
    most, passes = options.get("max", 8), options.get("passes")
    if type(most) is not int or most < 1:
        raise PassError(f"repeat's max must be a whole number of at least 1, got {most!r}")
    if not isinstance(passes, list | tuple) or not passes:
        raise PassError("repeat needs passes: a list that is not empty")
    return Repeat(tuple(_steps(passes)), most)
