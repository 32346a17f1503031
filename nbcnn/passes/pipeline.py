"""Pipelines: passes in order, with fixpoint groups; one spec as YAML, as text and as Python.

A pipeline file (``passes/*.yaml``, read by `nbcnn.passes.pipeline_file`)::

    format: 1
    description: what it is for
    options: {sparsity: 0.9}
    passes:
      - include: default
      - prune: {sparsity: $sparsity}
      - repeat: {until: unchanged, max: 8, passes: [fuse-conv-bn, remove-dead]}
      - my_package.my_module:MyPass

is as text ``include{pipeline=default}, prune{sparsity=0.9}, repeat{passes=[fuse-conv-bn, remove-dead]},
my_package.my_module:MyPass`` and in Python ``[Pipeline.of("default"), Prune(sparsity=0.9),
Repeat((FuseConvBn(), RemoveDead())), MyPass()]``. What a pipeline includes becomes part of it: a pipeline
prints as the passes that run.

A pipeline can name code (``package.module:Class`` is imported), so treat a pipeline's file as you would treat
a program. A model's file cannot: nothing in it names a pass, and only the user names a pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbcnn import resources
from nbcnn.errors import PassError, nearest
from nbcnn.passes import table, text
from nbcnn.passes.base import Pass
from nbcnn.yaml_reader import Item


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
class Origin:
    """Where a spec stands: the folder that its paths start from, and the files that include it."""

    folder: Path = Path()
    stack: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of steps."""

    steps: tuple[Step, ...]
    name: str = ""
    description: str = ""

    @classmethod
    def of(cls, passes: Any, options: Mapping[str, Any] | None = None) -> Pipeline:
        """A pipeline from a shipped name, the path of a YAML file, text, a pass, or a list of these.

        In a list each item is a pass, its class, a Repeat, a Pipeline, text, or data as YAML holds it.
        ``options`` are those that the pipeline of a name or a path declares.
        """
        if isinstance(passes, str) and _names_file(passes):
            passes = _file(passes, Path())
        if isinstance(passes, Path):
            return cls.read(passes, options)
        for name in options or ():
            raise PassError(
                f"only the pipeline of a file has options of its own: nothing here takes '{name}'"
            )
        if isinstance(passes, Pipeline):
            return passes
        if isinstance(passes, str):
            _known_word(passes)
        if isinstance(passes, str | Pass | Repeat | type | Mapping):
            passes = [passes]
        return cls(tuple(steps(passes)))

    @classmethod
    def read(cls, path: Path, options: Mapping[str, Any] | None = None) -> Pipeline:
        """The pipeline of a YAML file; an error names the line and column at fault."""
        from nbcnn.passes import pipeline_file

        return pipeline_file.read(path, options or {}, Origin())

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


def steps(items: Iterable[Any], origin: Origin | None = None) -> Iterator[Step]:
    """The steps that ``items`` (see `Pipeline.of`) stand for; errors point at items of a file."""
    origin = origin or Origin()
    for item in items:
        data = _opened(item) if isinstance(item, Item) else item
        try:
            if isinstance(data, str):
                for spec in text.parse(data):
                    yield from _spec(spec, origin)
            else:
                yield from _spec(data, origin)
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


def _spec(item: Any, origin: Origin) -> Iterable[Step]:
    if isinstance(item, Pass | Repeat):
        return [item]
    if isinstance(item, Pipeline):
        return item.steps
    if isinstance(item, type) and issubclass(item, Pass):
        return [item.of({})]
    if isinstance(item, str):
        return [table.get(item).of({})]
    if not isinstance(item, Mapping) or len(item) != 1:
        raise PassError(f"a pass is a name or 'name: {{option: value}}', got {item!r}")
    ((name, options),) = item.items()
    if name == "include" and isinstance(options, str):
        options = {"pipeline": options}
    if not isinstance(options, Mapping):
        raise PassError(f"the options of '{name}' must be a mapping, got {options!r}")
    if name == "include":
        return _included(dict(options), origin)
    return [_repeat(options, origin) if name == "repeat" else table.get(name).of(options)]


def _repeat(options: Mapping[str, Any], origin: Origin) -> Repeat:
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
    return Repeat(tuple(steps(passes, origin)), most)


def _included(options: dict[str, Any], origin: Origin) -> tuple[Step, ...]:
    """The steps of ``include: {pipeline: NAME OR PATH, option: value...}``."""
    from nbcnn.passes import pipeline_file

    name = options.pop("pipeline", None)
    if not isinstance(name, str):
        raise PassError("include needs a pipeline: its name or the path of its file")
    if not _names_file(name):
        raise PassError(f"no pipeline is called '{name}'{nearest(name, resources.names('passes'))}")
    return pipeline_file.read(_file(name, origin.folder), options, origin).steps


def _known_word(word: str) -> None:
    """Raise, with the nearest pipeline or pass, for one word that is neither."""
    known = [*resources.names("passes"), *table.PASSES, *table.plugins()]
    if text.parse(word) == [word] and ":" not in word and word not in known:
        raise PassError(f"unknown pipeline or pass '{word}'{nearest(word, known)}")


def _names_file(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or word in resources.names("passes")


def _file(word: str, folder: Path) -> Path:
    return folder / word if word.endswith((".yaml", ".yml")) else resources.find("passes", word)
