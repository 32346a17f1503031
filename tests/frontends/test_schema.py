import json
import typing
from typing import Any

import pytest

from nbcnn import ops, resources
from nbcnn.frontends.schema import attributes, described, json_schema
from nbcnn.ops import window
from nbcnn.yaml_reader import parse, read


@pytest.mark.parametrize("name", [n for n in ops.OPS if n != "fused"])
def test_every_op_has_a_model_and_words_for_its_types(name):
    cls = ops.get(name)
    attributes(cls)
    hints = {
        k: h for k, h in typing.get_type_hints(cls).items() if typing.get_origin(h) is not typing.ClassVar
    }
    for hint in hints.values():
        assert "typing" not in described(hint)


def test_types_in_words():
    assert described(window.Pair) == "a whole number or 2 whole numbers"
    assert described(float) == "a number"


def test_the_json_schema_knows_every_op():
    schema = json.loads(json.dumps(json_schema()))
    nodes = {entry.get("title"): entry for entry in schema["$defs"]["node"]["anyOf"]}
    assert set(nodes) == {*ops.OPS, None}
    conv = nodes["conv2d"]
    assert {"name", "op", "channels", "kernel"} == set(conv["required"])
    assert {"stride", "padding", "weights", "inputs"} <= set(conv["properties"])
    assert conv["additionalProperties"] is False


def plain(data: Any) -> Any:
    """What a JSON parser would give."""
    if isinstance(data, tuple):
        return [plain(entry) for entry in data]
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    return data


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("name", resources.names("graphs"))
def test_the_json_schema_accepts_the_zoo(name, validator):
    validator.validate(plain(read(resources.find("graphs", name)).data()))


@pytest.mark.parametrize(
    "node",
    [
        "{name: a}",
        "{op: relu}",
        "{name: a, op: nothing}",
        "{name: a, op: relu, kernel: 3}",
        "{name: a, op: conv2d, channels: 4, kernel: [3]}",
        "{name: a, op: conv2d, channels: 4, kernel: three}",
        "{name: a, block: b, repeat: 0}",
    ],
)
def test_the_json_schema_refuses(node, validator):
    text = f"{{format: 1, name: m, inputs: {{x: [N, 3]}}, nodes: [{node}]}}"
    assert not validator.is_valid(plain(parse(text).data()))
