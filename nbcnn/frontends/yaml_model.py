"""A model file to a graph: the sections of the file, its weights, and what it promises of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbcnn.errors import ModelFileError, NbcnnError, OptionError, nearest
from nbcnn.frontends import schema, tasks
from nbcnn.frontends.preprocess import Preprocess
from nbcnn.frontends.weights import TensorFile, bind, drawn
from nbcnn.frontends.yaml_blocks import Block, Given
from nbcnn.frontends.yaml_nodes import Region, Scope, located
from nbcnn.ir.graph import Graph
from nbcnn.ir.op import Param
from nbcnn.ir.types import BATCH, DTYPES, FLOATS, TensorType
from nbcnn.ir.weight import Weight
from nbcnn.yaml_reader import Item, Key, known_keys, read

FORMAT = 1
KEYS = [
    "format",
    "name",
    "description",
    "inputs",
    "constants",
    "blocks",
    "nodes",
    "outputs",
    "expect",
    "weights",
    "preprocess",
    "task",
    "labels",
]
MAX_LABEL_BYTES = 1 << 20
MAX_EXTENT = 2**31 - 1

_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load(
    path: Path,
    *,
    weights: Path | None = None,
    shapes: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Graph:
    """The graph in the YAML file at ``path``.

    ``weights`` takes the place of the weights file that the model names; ``shapes`` binds its
    symbolic extents; ``seed`` draws the weights where there is no file. Raises NbcnnError.
    """
    root = read(path)
    given = root.mapping("a model")
    known_keys(given, KEYS, "a model")
    for key in ("format", "name", "inputs", "nodes"):
        if key not in given:
            root.fail(f"a model needs '{key}'")
    if (version := _get(given, "format")).value != FORMAT:
        version.fail(f"format must be {FORMAT}, got {version.kind}")
    name = _get(given, "name").name("name")
    inputs = _types(_get(given, "inputs"), "inputs", _symbols(shapes))
    region = _region(given, inputs)
    scope = Scope(_get(given, "nodes").sequence("nodes"), {k: k for k in inputs}, len(inputs) == 1)
    last = region.expand(scope)
    if not region.nodes:
        _get(given, "nodes").fail("a model needs at least one node")
    outputs = _outputs(given, region, scope, last)
    found = _weights(given, region, path, weights, seed)
    try:
        graph = Graph.build(name, inputs, region.nodes, found, outputs, _meta(given, path))
    except NbcnnError as error:
        error.where = error.where or str(region.marks.get(error.node or "", root.mark))
        raise
    if "task" in given:
        with located(_get(given, "task").mark):
            tasks.task(graph)
    _expect(given, graph, scope, region)
    return graph


def _get(given: Given, key: str) -> Item:
    return given[Key(key)]


def _section(given: Given, key: str, known: list[str] | None = None) -> Given:
    """The mapping under ``key``, empty when there is none."""
    if key not in given:
        return {}
    entries = _get(given, key).mapping(key)
    if known is not None:
        known_keys(entries, known, f"'{key}'")
    return entries


def _symbols(shapes: Mapping[str, int] | None) -> dict[str, int]:
    for key, value in (shapes or {}).items():
        if type(value) is not int or not 1 <= value <= MAX_EXTENT:
            raise OptionError(f"shapes: '{key}' must be a whole number of at least 1, got {value!r}")
    return dict(shapes or {})


def _types(item: Item, what: str, symbols: Mapping[str, int]) -> dict[str, TensorType]:
    """Named types: ``{image: [N, 3, H, W]}`` or ``{image: {shape: [...], dtype: uint8}}``."""
    found: dict[str, TensorType] = {}
    free: set[str] = set()
    for key, entry in item.mapping(what).items():
        shape, dtype = entry, "float32"
        if isinstance(entry.value, dict):
            known_keys(entry.value, ["shape", "dtype"], f"the type of '{key}'")
            if "shape" not in entry.value:
                entry.fail(f"the type of '{key}' needs 'shape'")
            shape = _get(entry.value, "shape")
            if "dtype" in entry.value:
                word = _get(entry.value, "dtype")
                dtype = word.string("dtype")
                if dtype not in DTYPES:
                    word.fail(f"unknown dtype '{dtype}'{nearest(dtype, DTYPES)}")
        extents = []
        for extent in shape.sequence(f"the shape of '{key}'"):
            value = extent.value
            if isinstance(value, str) and _SYMBOL.fullmatch(value):
                free.add(value)
                value = symbols.get(value, value)
                if value == BATCH and (extents or what != "inputs"):
                    extent.fail(f"'{BATCH}' is the batch: it stands first, and in inputs only")
                if isinstance(value, str) and value != BATCH:
                    extent.fail(f"the extent '{value}' of '{key}' is open: give shapes={{'{value}': ...}}")
            elif type(value) is not int or not 1 <= value <= MAX_EXTENT:
                extent.fail(
                    f"an extent of '{key}' must be a number of at least 1 or a symbol, got {extent.kind}"
                )
            extents.append(value)
        found[str(key)] = TensorType(tuple(extents), dtype)
    if what == "inputs":
        if not found:
            item.fail("a model needs at least one input")
        for symbol in symbols:
            if symbol not in free:
                raise OptionError(f"shapes: no input has the symbol '{symbol}'{nearest(symbol, free)}")
    return found


def _region(given: Given, inputs: Mapping[str, TensorType]) -> Region:
    """A region that knows the inputs, constants and blocks, and no node yet."""
    blocks = {str(k): Block.of(k, v) for k, v in _section(given, "blocks").items()}
    region = Region(inputs, blocks)
    entries = dict(_get(given, "inputs").value)
    if "constants" in given:
        constants = _get(given, "constants")
        entries |= constants.value if isinstance(constants.value, dict) else {}
        for name, type_ in _types(constants, "constants", {}).items():
            region.params[name] = Param(type_, "scale")
    for key, item in entries.items():
        if str(key) in region.marks:
            key.mark.fail(f"the name '{key}' is used twice")
        region.claim(str(key), key.mark)
        with located(item.mark):
            region.check_size(str(key), inputs.get(str(key)) or region.params[str(key)].type)
    return region


def _outputs(given: Given, region: Region, scope: Scope, last: tuple[str, ...]) -> dict[str, str]:
    """Public name -> value; the last entry's values where the file names none."""
    if "outputs" not in given:
        return {v: v for v in last}
    item = _get(given, "outputs")
    if isinstance(item.value, dict):
        pairs = [(str(key), value) for key, value in item.value.items()]
    else:
        pairs = [(value.name("an output"), value) for value in item.sequence("outputs")]
    if not pairs:
        item.fail("a model needs at least one output")
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            value.fail(f"the output '{name}' is named twice")
        found[name] = region.resolve(value, scope)
    return found


def _weights(given: Given, region: Region, path: Path, override: Path | None, seed: int) -> dict[str, Weight]:
    """All weights: from the file given, else the file named, else the seeded initialiser."""
    section = _section(given, "weights", ["file", "map", "trainable"])
    params = dict(region.params)
    for key, item in _section(section, "trainable").items():
        if key not in params:
            key.mark.fail(f"there is no weight '{key}'{nearest(key, params)}")
        if not isinstance(item.value, bool):
            item.fail(f"trainable must be true or false, got {item.kind}")
        params[str(key)] = replace(params[str(key)], trainable=item.value)
    renames = {str(k): v.string("map") for k, v in _section(section, "map").items()}
    if override is not None:
        return bind(params, TensorFile(override), renames)
    if "file" in section:
        file = _get(section, "file")
        return bind(params, TensorFile(inside(path.parent, file, "weights file")), renames)
    for name, mark in region.named.items():
        hint = nearest(name, params.keys() - region.named.keys())
        mark.fail(f"weight '{name}' is in no node above, and there is no weights file{hint}")
    for key in _section(given, "constants"):
        if (type_ := params[str(key)].type).dtype not in FLOATS:
            key.mark.fail(f"constant '{key}' {type_} needs a weights file: only floats can be drawn")
    return drawn(params, seed)


def inside(folder: Path, item: Item, what: str) -> Path:
    """The path that ``item`` names relative to ``folder``; an error if it leads out of it."""
    text = item.string(what)
    try:
        base = folder.resolve()
        path = (base / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        item.fail(f"{what} '{text}' is no usable path: {error}")
    if not path.is_relative_to(base):
        item.fail(f"{what} '{text}' leaves the folder of the model")
    if not path.is_file():
        item.fail(f"{what} '{text}' does not exist")
    return path


def _meta(given: Given, path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if "description" in given:
        meta["description"] = _get(given, "description").string("description")
    if "preprocess" in given:
        item = _get(given, "preprocess")
        meta["preprocess"] = schema.build(Preprocess, "preprocess", item.mapping("preprocess"), item.mark)
    if "task" in given:
        meta["task"] = tasks.of(_get(given, "task"))
    if "labels" in given:
        meta["labels"] = _labels(_get(given, "labels"), path)
    return meta


def _labels(item: Item, path: Path) -> tuple[str, ...]:
    """Names of the classes, listed or one per line of a file beside the model.

    Printable text only: a terminal obeys control characters.
    """
    if isinstance(item.value, list):
        listed = [i.text if i.text is not None else i.fail("a label must be text") for i in item.value]
        if not all(label.isprintable() for label in listed):
            item.fail("a label holds control characters")
        return tuple(listed)
    file = inside(path.parent, item, "labels file")
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_LABEL_BYTES + 1)
        if len(raw) > MAX_LABEL_BYTES:
            raise ModelFileError("is larger than 1 MiB", where=str(file))
        labels = tuple(raw.decode("utf-8-sig").splitlines())
        if not all(label.isprintable() for label in labels):
            raise ModelFileError("a label holds control characters", where=str(file))
        return labels
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot be read as text: {error}", where=str(file)) from None


def _expect(given: Given, graph: Graph, scope: Scope, region: Region) -> None:
    """Compare the graph with what the file says of it."""
    for key, item in _section(given, "expect", ["params", "macs", "outputs"]).items():
        if key == "outputs":
            for name, shape in item.mapping("outputs").items():
                value = graph.outputs.get(name)
                if value is None:
                    name.mark.fail(f"expect: no output '{name}'{nearest(name, graph.outputs)}")
                if graph.type(value).shape != tuple(i.value for i in shape.sequence("a shape")):
                    shape.fail(
                        f"expect: output '{name}' is {graph.type(value)}, the file says {list(shape.data())}"
                    )
            continue
        wanted = item.integer(str(key), 0)
        got = graph.parameters if key == "params" else graph.macs
        if got != wanted:
            what = "parameters" if key == "params" else "multiply-accumulates"
            item.fail(f"expect: the model has {got:,} {what}, the file says {wanted:,}")
