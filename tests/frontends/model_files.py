"""Help for tests that write model files."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import nbcnn
from nbcnn.errors import NbcnnError
from nbcnn.ir.graph import Graph

HEAD = "format: 1\nname: m\ninputs: {image: [N, 3, 8, 8]}\n"
CONV = HEAD + "nodes:\n  - {name: conv, op: conv2d, channels: 4, kernel: 3}\n"


def write(folder: Path, text: str, name: str = "m.yaml") -> Path:
    """A model file in ``folder``."""
    path = folder / name
    path.write_text(dedent(text))
    return path


def model(folder: Path, text: str, **options) -> Graph:
    """The graph of a model file with ``text``."""
    return nbcnn.load(write(folder, text), **options)


def refusal(folder: Path, text: str, **options) -> str:
    """The error of loading ``text``: one line, its place given relative to ``folder``."""
    with pytest.raises(NbcnnError) as caught:
        model(folder, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def assert_same(got: Graph, wanted: Graph) -> None:
    """The two graphs have the same structure and, bit by bit, the same weights."""
    assert got.name == wanted.name
    assert got.inputs == wanted.inputs
    assert got.nodes == wanted.nodes
    assert dict(got.outputs) == dict(wanted.outputs)
    assert dict(got.meta) == dict(wanted.meta)
    assert got.weights.keys() == wanted.weights.keys()
    for name, weight in wanted.weights.items():
        other = got.weight(name)
        assert (other.type, other.trainable, other.sparsity) == (
            weight.type,
            weight.trainable,
            weight.sparsity,
        )
        assert other.array.tobytes() == weight.array.tobytes()
        assert (other.mask is None) == (weight.mask is None)
        if weight.mask is not None:
            np.testing.assert_array_equal(other.mask, weight.mask)
