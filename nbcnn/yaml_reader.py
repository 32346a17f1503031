"""YAML text as a tree of items that remember where they stand.

PyYAML is used for its events alone: no tag is resolved and no Python object built. Scalars follow
the YAML 1.2 core schema, which PyYAML's own resolver does not (``1e-5`` is a float, ``yes`` a
string). Refused: tags, duplicate keys, a second document, and files that are large, deep, or grow
large through aliases.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from nbcnn.errors import ModelFileError, nearest

MAX_BYTES = 16 << 20
MAX_ITEMS = 1_000_000
MAX_DEPTH = 64
MAX_DIGITS = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built in: 10x faster

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {f"{sign}.{word}": float(sign + word) for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")}
_SPECIAL |= {f".{word}": math.nan for word in ("nan", "NaN", "NAN")}

PARAM_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "any": (int, float, bool, str, list),
}
"""Words that declare a parameter (of a block, of a pipeline) without a default, and what it may then be."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def fail(self, message: str, node: str | None = None) -> NoReturn:
        """Raise ModelFileError that points here."""
        raise ModelFileError(message, node=node, where=str(self))


class Key(str):
    """A mapping's key, with the place where it stands."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Item:
    """A scalar, a list of items or a dict from `Key` to items.

    ``text`` is a scalar as it was written, ``plain`` whether it stood without quotes; ``size`` and
    ``depth`` count the items below, aliases included each time.
    """

    value: Any
    mark: Mark
    text: str | None = None
    plain: bool = False
    size: int = 1
    depth: int = 0

    def fail(self, message: str, node: str | None = None) -> NoReturn:
        """Raise ModelFileError that points here."""
        self.mark.fail(message, node)

    @property
    def kind(self) -> str:
        """What this is, in words for an error message."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else shown(self.value)

    def mapping(self, what: str) -> dict[Key, Item]:
        """The entries, or an error that says that ``what`` must be a mapping."""
        if not isinstance(self.value, dict):
            self.fail(f"{what} must be a mapping, got {self.kind}")
        return self.value

    def sequence(self, what: str) -> list[Item]:
        """The items, or an error that says that ``what`` must be a list."""
        if not isinstance(self.value, list):
            self.fail(f"{what} must be a list, got {self.kind}")
        return self.value

    def name(self, what: str) -> str:
        """A scalar as the name of something: its text, so that a node may be called ``0``."""
        if not self.text:
            self.fail(f"{what} must be a name, got {self.kind}")
        if len(self.text) > 1000 or not self.text.isprintable():
            self.fail(f"{what} must be at most 1000 printable characters")
        return self.text

    def string(self, what: str) -> str:
        """The text, or an error that says that ``what`` must be text."""
        if not isinstance(self.value, str):
            self.fail(f"{what} must be text, got {self.kind}")
        return self.value

    def integer(self, what: str, least: int) -> int:
        """A whole number of at least ``least``."""
        if type(self.value) is not int or self.value < least:
            self.fail(f"{what} must be a whole number of at least {least}, got {self.kind}")
        return self.value

    def data(self) -> Any:
        """Plain Python values: scalars, tuples and dicts."""
        if isinstance(self.value, list):
            return tuple(item.data() for item in self.value)
        if isinstance(self.value, dict):
            return {str(key): item.data() for key, item in self.value.items()}
        return self.value


def shown(value: object) -> str:
    """A scalar for an error message, cut when long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def known_keys(entries: dict[Key, Item], known: list[str], what: str) -> None:
    """Raise at the first key that is not among ``known``."""
    for key in entries:
        if key not in known:
            key.mark.fail(f"unknown key '{key}' in {what}{nearest(key, known)}")


def substituted(item: Item, values: Mapping[str, Item], what: str) -> Item:
    """``item`` with each scalar that is exactly ``$param`` replaced by the parameter's value.

    ``what`` says for an error message whose parameters ``values`` are.
    """
    value = item.value
    if isinstance(value, str):
        if not (item.plain and value.startswith("$")):
            return item
        if value[1:] not in values:
            item.fail(f"{what} has no parameter '{value}'{nearest(value[1:], values)}")
        return values[value[1:]]
    if isinstance(value, list):
        new = [substituted(i, values, what) for i in value]
        return item if all(a is b for a, b in zip(new, value, strict=True)) else replace(item, value=new)
    if isinstance(value, dict):
        entries = {k: substituted(i, values, what) for k, i in value.items()}
        return item if all(entries[k] is i for k, i in value.items()) else replace(item, value=entries)
    return item


def read(path: Path) -> Item:
    """The one document of the YAML file at ``path``."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise ModelFileError(f"is larger than {MAX_BYTES >> 20} MiB", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"is not UTF-8 text (byte {error.start})", where=str(path)) from None
    return parse(text, str(path))


def parse(text: str, file: str = "<string>") -> Item:
    """The one document of YAML ``text``; ``file`` is for error messages."""
    try:
        return _Parser(text, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = str(Mark(file, mark.line + 1, mark.column + 1)) if mark else file
        context = f" {error.context}" if error.context else ""
        message = f"malformed YAML: {error.problem or 'unreadable'}{context}"
        raise ModelFileError(" ".join(message.split()), where=where) from None
    except yaml.YAMLError as error:
        raise ModelFileError(f"malformed YAML: {' '.join(str(error).split())}", where=file) from None


class _Parser:
    """Recursive descent over PyYAML's events."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self.anchors: dict[str, Item | None] = {}
        self.count = 0

    def document(self) -> Item:
        next(self.events)  # the start of the stream
        event = next(self.events)
        if not isinstance(event, yaml.DocumentStartEvent):
            raise ModelFileError("is empty", where=self.file)
        item = self.item(next(self.events), 0)
        next(self.events)  # the end of the document
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            self.mark(event).fail("a second YAML document; one is expected")
        return item

    def mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(self.file, start.line + 1, start.column + 1)

    def item(self, event: Any, depth: int) -> Item:
        mark = self.mark(event)
        if depth > MAX_DEPTH:
            mark.fail(f"more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            found = self.anchors.get(event.anchor)
            if found is None:
                what = "stands inside itself" if event.anchor in self.anchors else "is not defined above"
                mark.fail(f"alias '*{event.anchor}' {what}")
            if depth + found.depth > MAX_DEPTH:
                mark.fail(f"more than {MAX_DEPTH} levels deep through alias '*{event.anchor}'")
            self.grow(found.size, mark)
            return found
        if event.tag is not None:
            mark.fail(f"tag {shown(event.tag)} is refused: a model file holds plain data only")
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # an alias to it is circular until it is complete
        self.grow(1, mark)
        if isinstance(event, yaml.ScalarEvent):
            plain = not event.style  # None from PyYAML, '' from libyaml
            try:
                value = scalar(event.value) if plain else event.value
            except ValueError as error:
                mark.fail(str(error))
            item = Item(value, mark, event.value, plain)
        elif isinstance(event, yaml.SequenceStartEvent):
            item = self.sequence(mark, depth)
        else:
            item = self.mapping(mark, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = item
        return item

    def sequence(self, mark: Mark, depth: int) -> Item:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.item(event, depth + 1))
        return _branch(items, items, mark)

    def mapping(self, mark: Mark, depth: int) -> Item:
        entries: dict[Key, Item] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            word = self.item(event, depth + 1)
            if word.text is None:
                word.fail(f"a key must be a scalar, got {word.kind}")
            key = Key(word.text)
            key.mark = self.mark(event)
            if key in entries:
                first = next(k for k in entries if k == key)
                key.mark.fail(f"duplicate key '{key}', first given on line {first.mark.line}")
            entries[key] = self.item(next(self.events), depth + 1)
        return _branch(entries, list(entries.values()), mark)

    def grow(self, size: int, mark: Mark) -> None:
        self.count += size
        if self.count > MAX_ITEMS:
            mark.fail(f"more than {MAX_ITEMS:,} items once aliases are expanded")


def _branch(value: object, below: list[Item], mark: Mark) -> Item:
    size = 1 + sum(item.size for item in below)
    depth = 1 + max((item.depth for item in below), default=0)
    return Item(value, mark, size=size, depth=depth)


def scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar in the YAML 1.2 core schema; ValueError where a number is too large."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        base = 0 if text[:2] in ("0o", "0x") else 10
        if len(text) > MAX_DIGITS or abs(value := int(text, base)) >= 2**63:
            raise ValueError("a number that needs more than 64 bits")
        return value
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text, text)
