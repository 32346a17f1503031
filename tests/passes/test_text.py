import math

import pytest

from nbcnn.errors import PassError
from nbcnn.passes import text


@pytest.mark.parametrize(
    "spec, data",
    [
        ("", []),
        ("a, b", ["a", "b"]),
        ("prune{sparsity=0.9}", [{"prune": {"sparsity": 0.9}}]),
        ("a{n=-3, x=1e-05, yes=true, no=null}", [{"a": {"n": -3, "x": 1e-5, "yes": True, "no": None}}]),
        ('a{s="x, y", t="1"}', [{"a": {"s": "x, y", "t": "1"}}]),
        ("a{l=[1, b, [c]], m={k=v}}", [{"a": {"l": [1, "b", ["c"]], "m": {"k": "v"}}}]),
        ("repeat{passes=[a, b{x=1}]}", [{"repeat": {"passes": ["a", {"b": {"x": 1}}]}}]),
        ("my.module:Pass{n=1}", [{"my.module:Pass": {"n": 1}}]),
    ],
)
def test_text_and_data_are_one(spec, data):
    assert text.parse(spec) == data
    assert text.dump(data) == spec


@pytest.mark.parametrize(
    "spec, word",
    [
        ("a b", "'b': expected ','"),
        ("a,,b", "a name or a value"),
        ("a{x=1", "at its end"),
        ("a{x}", "expected '='"),
        ("a{x=}", "a name or a value"),
        ("a}", "expected ','"),
        ('a{s="x}', "a name or a value"),
        ("a{x=1, x=2}", "twice"),
        ("a{l=[1}", "expected ','"),
        ("a{x=99999999999999999999}", "more than 64 bits"),
        ('a{x="\\x"}', "escape"),
    ],
)
def test_mistakes_are_pointed_at(spec, word):
    with pytest.raises(PassError, match="pipeline text") as error:
        text.parse(spec)
    assert word in str(error.value)


def test_scalars_are_those_of_yaml_1_2():
    spec = "yes, true, 1e5, 012, 0x1F, .5, -.inf, 1_0, ~"
    assert text.parse(spec) == ["yes", True, 1e5, 12, 31, 0.5, -math.inf, "1_0", None]


@pytest.mark.parametrize("word", ["", "true", "12", "0x1F", "9" * 200, ".inf", "~", "a b", 'say "x"', "a=b"])
def test_words_that_read_as_something_else_are_quoted(word):
    spec = text.dump([word])
    assert spec.startswith('"')
    assert text.parse(spec) == [word]
