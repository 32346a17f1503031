"""Files made to harm: each is refused in words, within the memory that the importer states."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbcnn
from nbcnn.bench.remote import environment
from nbcnn.errors import ModelFileError, NbcnnError

onnx = pytest.importorskip("onnx")
mutations = pytest.importorskip("mutations")
helper = onnx.helper
model, node = mutations.model, helper.make_node

FLOAT = onnx.TensorProto.FLOAT
LIMIT = 3 << 30
"""Bytes of address space: 1 GiB of constants, and Python with its packages, whose threads reserve some."""


def image(*nodes: Any, outputs: tuple[str, ...] = ("y",), **options: Any) -> Any:
    return model(nodes, [("x", [1, 3, 8, 8])], outputs, **options)


def huge(kind: str, *operands: Any, **attributes: Any) -> Any:
    """A constant that takes a terabyte, unless it is refused."""
    names = [f"c{i}" for i in range(len(operands))]
    constants = list(zip(names, map(np.asarray, operands), strict=True))
    return image(node(kind, names, ["h"], **attributes), node("Add", ["x", "h"], ["y"]), constants=constants)


def doubled(kind: str) -> Any:
    """Forty doublings of one number."""
    nodes = [node(kind, [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(40)]
    return image(*nodes, node("Add", ["x", "d40"], ["y"]), constants=[("d0", np.ones(1, np.float32))])


def laughs() -> Any:
    """Functions that call each other twice, forty deep: 2**40 nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = []
    for i in range(40):
        call = [
            node(f"F{i - 1}" if i else "Relu", [a], [b], domain="f" if i else "")
            for a, b in (("a", "b"), ("b", "c"))
        ]
        functions.append(helper.make_function("f", f"F{i}", ["a"], ["c"], call, opsets))
    return image(node("F39", ["x"], ["y"], domain="f"), functions=functions)


def recursive() -> Any:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    one = helper.make_function("f", "One", ["a"], ["b"], [node("Two", ["a"], ["b"], domain="f")], opsets)
    two = helper.make_function("f", "Two", ["a"], ["b"], [node("One", ["a"], ["b"], domain="f")], opsets)
    return image(node("One", ["x"], ["y"], domain="f"), functions=[one, two])


def nested(depth: int = 24) -> Any:
    """Conditions within conditions."""
    inner = node("Relu", ["x"], ["v0"])
    for i in range(depth):
        branch = helper.make_graph([inner], "b", [], [mutations.value(f"v{i}", None)])
        other = helper.make_graph([node("Neg", ["x"], [f"e{i}"])], "e", [], [mutations.value(f"e{i}", None)])
        inner = node("If", ["yes"], [f"v{i + 1}"], then_branch=branch, else_branch=other)
    return image(inner, outputs=(f"v{depth}",), constants=[("yes", np.array(True))])


def cyclic() -> Any:
    return image(node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), outputs=("b",))


def initialiser(dims: list[int], raw: bytes = b"", kind: int = FLOAT) -> Any:
    made = image(node("Add", ["x", "w"], ["y"]))
    made.graph.initializer.add(name="w", dims=dims, data_type=kind, raw_data=raw)
    return made


def many() -> Any:
    return image(*(node("Relu", ["x"], [f"r{i}"]) for i in range(60_000)), outputs=("r0",))


WIDE = np.array([1 << 20, 1 << 20])
NONE = np.zeros(0, np.float32)
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "filled with one number": (lambda: huge("ConstantOfShape", WIDE), "GiB"),
    "expanded": (lambda: huge("Expand", np.ones((1, 1), np.float32), WIDE), "GiB"),
    "tiled": (lambda: huge("Tile", np.ones((1, 1), np.float32), WIDE), "GiB"),
    "tiled below the limit of a value": (
        lambda: huge("Tile", np.ones(1, np.float32), np.array([1 << 29])),
        "more than 1 GiB",
    ),
    "a range": (lambda: huge("Range", 0.0, 1e12, 1.0), "GiB|Range"),
    "one-hot": (lambda: huge("OneHot", np.zeros(9, np.int64), 1 << 40, np.array([0.0, 1.0])), "GiB|OneHot"),
    "padded": (lambda: huge("Pad", np.ones(1, np.float32), np.array([1 << 40, 0])), "GiB|Pad"),
    "resized": (
        lambda: huge("Resize", np.ones((1, 1, 1, 1), np.float32), NONE, np.float32([1, 1, 1e6, 1e6])),
        "GiB|Resize",
    ),
    "doubled": (lambda: doubled("Concat"), "more than 1 GiB|GiB"),
    "functions in functions": (laughs, "unfolded"),
    "functions of themselves": (recursive, "calls itself"),
    "conditions in conditions": (nested, "deep"),
    "a cycle": (cyclic, "nothing above makes it"),
    "too many nodes": (many, "50,000 nodes"),
    "an initialiser without data": (lambda: initialiser([1 << 20, 1 << 20]), "holds 0 bytes"),
    "extents beyond any": (lambda: initialiser([1 << 62]), "impossible extents"),
    "negative extents": (lambda: initialiser([-1]), "impossible extents"),
    "too many axes": (lambda: initialiser([1] * 99), "impossible extents"),
    "an unheard-of dtype": (lambda: initialiser([1], b"1", 99), "99"),
    "an input of a terabyte": (
        lambda: model([node("Relu", ["x"], ["y"])], [("x", [1 << 20, 1 << 20])], ["y"]), "GiB"
    ),
    "an impossible input": (
        lambda: model([node("Relu", ["x"], ["y"])], [("x", [1 << 62])], ["y"]), "over"
    ),
    "two values of one name": (lambda: image(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])), "twice"),
    "a value named as an input": (lambda: image(node("Relu", ["x"], ["x"]), outputs=("x",)), "twice"),
    "a name that commands a terminal": (
        lambda: image(node("Relu", ["x"], ["\x1b[2J"]), outputs=("\x1b[2J",)), "control characters"
    ),
    "the wrong rank": (
        lambda: image(
            node("Conv", ["x", "w"], ["y"]), constants=[("w", np.ones((4, 3), np.float32))]
        ), "Conv"
    ),
    "an output that nothing makes": (lambda: image(node("Relu", ["x"], ["y"]), outputs=("z",)), "'z'"),
    "no opset": (lambda: image(node("Relu", ["x"], ["y"]), opset=99), "opset 99"),
    "opset 5": (lambda: image(node("Relu", ["x"], ["y"], consumed_inputs=[0]), opset=5), "opset 5|consumed"),
}  # fmt: skip

READ = """
import resource, sys
import nbcnn
from nbcnn.errors import NbcnnError
import nbcnn.frontends.onnx.importer
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
for path in sys.argv[2:]:
    try:
        nbcnn.from_onnx(path)
        print(path, "was read")
    except NbcnnError as error:
        print(path, error.where, " ".join(str(error).split()))
"""


def test_each_is_refused_within_the_limits(tmp_path) -> None:
    """In one process of its own with an upper bound on its memory."""
    files = []
    for number, (make, _) in enumerate(CASES.values()):
        files.append(tmp_path / f"{number}.onnx")
        files[-1].write_bytes(make().SerializeToString())
    words = [sys.executable, "-c", READ, str(LIMIT), *map(str, files)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment(os.environ, 1))
    assert run.returncode == 0, run.stderr[-2000:]
    answers = dict(zip(CASES, run.stdout.splitlines(), strict=True))
    for name, answer in answers.items():
        assert "was read" not in answer, name
        assert re.search(CASES[name][1], answer), (name, answer)


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../secret", "sub/../../secret", "link", "", "missing", "\0"]
)
def test_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    made = initialiser([1])
    (tensor,) = made.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match=r"leaves the folder|there is no file|no usable path"):
        nbcnn.load(folder / "m.onnx")


@pytest.mark.parametrize("offset, length", [("2", "4"), ("-1", "4"), ("0", "3"), ("x", "4"), ("9" * 30, "4")])
def test_data_that_does_not_fit(offset: str, length: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(4))
    made = initialiser([1])
    (tensor,) = made.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "data"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match=r"does not fit|cannot be read"):
        nbcnn.load(tmp_path / "m.onnx")


def test_no_folder_in_memory() -> None:
    made = initialiser([1])
    made.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ModelFileError, match="no folder"):
        nbcnn.from_onnx(made.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07" * 9, bytes(100)])
def test_what_is_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    for source in (content, tmp_path / "m.onnx"):
        with pytest.raises(NbcnnError, match="is no ONNX model"):
            nbcnn.from_onnx(source)
