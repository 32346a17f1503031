import math

import pytest
import yaml

from nbcnn import yaml_reader
from nbcnn.errors import ModelFileError
from nbcnn.yaml_reader import parse, read, scalar

SCALARS = {
    "1e-5": 1e-5,
    "1.": 1.0,
    ".5": 0.5,
    "-2": -2,
    "+3": 3,
    "010": 10,
    "0o17": 15,
    "0x1F": 31,
    "0b1": "0b1",
    "1_000": "1_000",
    "1:30": "1:30",
    "2020-01-01": "2020-01-01",
    "true": True,
    "false": False,
    "yes": "yes",
    "on": "on",
    "N": "N",
    "~": None,
    "null": None,
    "": None,
    ".inf": math.inf,
    "-.inf": -math.inf,
    "=": "=",
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_follow_the_core_schema(text):
    value = scalar(text)
    assert value == SCALARS[text]
    assert type(value) is type(SCALARS[text])


@pytest.mark.parametrize("loader", ["libyaml", "pure"])
def test_values_and_places(loader, monkeypatch):
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml.SafeLoader if loader == "pure" else yaml_reader._LOADER)
    root = parse("a: [1, '1', \"x\\ny\"]\nb:\n  c: &n {d: 2.5}\n  e: *n\n", "f.yaml")
    assert root.data() == {"a": (1, "1", "x\ny"), "b": {"c": {"d": 2.5}, "e": {"d": 2.5}}}
    b = next(key for key in root.value if key == "b")
    assert str(b.mark) == "f.yaml:2:1"
    assert str(root.value["a"].value[1].mark) == "f.yaml:1:8"


BAD = {
    "a: [1, 2": "malformed YAML",
    "a: b: c": "f.yaml:1:5: malformed YAML",
    "a: 1\n\tb: 2": "malformed YAML",
    "": "is empty",
    "# only a comment\n": "is empty",
    "a: 1\n---\nb: 2": "f.yaml:2:1: a second YAML document",
    "a: 1\nb: 2\na: 3": "f.yaml:3:1: duplicate key 'a', first given on line 1",
    "a: {x: 1, x: 2}": "f.yaml:1:11: duplicate key 'x'",
    "a: !!python/object/apply:os.system [ls]": "f.yaml:1:4: tag 'tag:yaml.org,2002:python/object/apply:",
    "a: !!int '3'": "tag 'tag:yaml.org,2002:int' is refused",
    "a: !mine 3": "tag '!mine' is refused",
    "a: &x [*x]": "alias '*x' stands inside itself",
    "a: *x": "f.yaml:1:4: ",
    "? [1, 2]\n: 3": "a key must be a scalar",
    "a: 99999999999999999999": "f.yaml:1:4: a number that needs more than 64 bits",
    "a: " + "9" * 5000: "more than 64 bits",
    "[" * 100 + "]" * 100: "deep",
    "a: \0": "malformed YAML",
}


@pytest.mark.parametrize("loader", ["libyaml", "pure"])
@pytest.mark.parametrize("text", BAD)
def test_refused_in_one_line(text, loader, monkeypatch):
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml.SafeLoader if loader == "pure" else yaml_reader._LOADER)
    with pytest.raises(ModelFileError) as caught:
        parse(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml")
    assert BAD[text] in message
    assert "\n" not in message


def test_alias_bombs_are_refused_before_they_grow():
    width = ", ".join(["*a{0}"] * 9)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{width.format(i - 1)}]" for i in range(1, 12)]
    with pytest.raises(ModelFileError, match="once aliases are expanded"):
        parse("\n".join(lines))


def test_deep_through_aliases():
    lines = ["a0: &a0 [[x]]"] + [f"a{i}: &a{i} [[*a{i - 1}]]" for i in range(1, 60)]
    with pytest.raises(ModelFileError, match="levels deep through alias"):
        parse("\n".join(lines))


def test_files_that_cannot_be_text(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ModelFileError, match="is not UTF-8 text"):
        read(path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        read(tmp_path / "none.yaml")
    path.write_bytes(b"#" * (yaml_reader.MAX_BYTES + 1))
    with pytest.raises(ModelFileError, match="larger than 16 MiB"):
        read(path)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data() == {"a": 1}
