"""Graphs as text: one line per value, the same for equal graphs, and what differs between two of them.

    graph net
    input x : float32[N, 3, 8, 8]
    weight conv.weight : float32[4, 3, 3, 3] computed, density 0.25
    conv = conv2d{channels=4, kernel=[3, 3], bias=false}(x, conv.weight) : float32[N, 4, 6, 6]
    act = fused(conv, w) : float32[N, 4, 6, 6]
      sum = conv2d{channels=4, kernel=[1, 1], bias=false}(conv, w)
      act = relu(sum)
    output act

Attributes stand where they differ from their defaults; a weight stands before its first reader, ``fixed``
when it is not trainable; the nodes of a fused body are indented, over the values that the graph gives it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.op import Op
from nbcnn.ir.weight import Weight


def dump(graph: Graph) -> str:
    """The text of ``graph``."""
    return "\n".join([f"graph {graph.name}", *entries(graph), ""])


def diff(before: Graph, after: Graph) -> str:
    """What changed, in the order of the graphs: ``-`` gone, ``+`` new, ``~`` a weight with other values.

    Empty for equal graphs.
    """
    old, new = list(entries(before)), list(entries(after))
    shared = before.weights.keys() & after.weights.keys()
    lines: list[str] = []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, i, to_i, j, to_j in matcher.get_opcodes():
        if tag == "equal":
            names = (e.split(" ", 2)[1] for e in new[j:to_j] if e.startswith("weight "))
            lines += [
                f"~ weight {name} : other values"
                for name in names
                if name in shared and not _same(before.weight(name), after.weight(name))
            ]
        else:
            lines += _marked("-", old[i:to_i]) + _marked("+", new[j:to_j])
    return "".join(line + "\n" for line in lines)


def entries(graph: Graph) -> Iterator[str]:
    """A text per input, weight, node (several lines when it is fused) and output."""
    for name, type_ in graph.inputs.items():
        yield f"input {name} : {type_}"
    weights = graph.weights
    for node in graph.nodes:
        yield from (weight(v, weights.pop(v)) for v in node.inputs if v in weights)
        yield "\n".join(_node(node, graph))
    yield from (weight(name, left) for name, left in weights.items())
    for public, value in graph.outputs.items():
        yield f"output {public}" + (f" = {value}" if value != public else "")


def weight(name: str, given: Weight) -> str:
    """One weight: type, where it came from, the share that its mask keeps, its pattern and share of zeros."""
    notes = [given.origin]
    if given.mask is not None:
        notes.append(f"density {np.count_nonzero(given.mask) / max(given.mask.size, 1):.4g}")
    if given.sparsity is not None:
        notes.append(f"{given.sparsity.pattern} sparse {given.sparsity.zeros:.4g}")
    if not given.trainable:
        notes.append("fixed")
    return f"weight {name} : {given.type} {', '.join(notes)}"


def node(given: Node) -> str:
    """One node without its types: ``act = relu(conv)``."""
    return f"{', '.join(given.outputs)} = {op(given.op)}({', '.join(given.inputs)})"


def op(given: Op) -> str:
    """An operator and the attributes that differ from their defaults: ``max_pool{kernel=[3, 3]}``."""
    shown = []
    if dataclasses.is_dataclass(given):
        for field in dataclasses.fields(given):
            found = getattr(given, field.name)
            if field.name != "body" and found != field.default:
                shown.append(f"{field.name}={_value(found)}")
    return given.name + (f"{{{', '.join(shown)}}}" if shown else "")


def _node(given: Node, graph: Graph) -> Iterator[str]:
    named = f"{given.name}: " if given.outputs != (given.name,) else ""
    types = ", ".join(map(str, graph.types(given.outputs)))
    yield f"{named}{node(given)} : {types}"
    body = getattr(given.op, "body", None)
    if body is None:
        return
    actual = dict(zip(body.inputs + body.weights, given.inputs, strict=True))
    for part in body.nodes:
        inner = dataclasses.replace(part, inputs=tuple(actual.get(v, v) for v in part.inputs))
        yield f"  {node(inner)}"
    if body.outputs != given.outputs:
        yield f"  return {', '.join(body.outputs)}"


def _value(found: Any) -> str:
    if isinstance(found, Op):
        return op(found)
    if isinstance(found, tuple | list):
        return f"[{', '.join(map(_value, found))}]"
    return found if isinstance(found, str) else json.dumps(found, default=str)


def _marked(mark: str, texts: list[str]) -> list[str]:
    return [f"{mark} {line}" for text in texts for line in text.split("\n")]


def _same(a: Weight, b: Weight) -> bool:
    return a is b or a.source is b.source or np.array_equal(a.array, b.array, equal_nan=True)
