import json
import typing

import pytest

from nbcnn import ops
from nbcnn.frontends.schema import attributes, described, json_schema
from nbcnn.ops import window


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
