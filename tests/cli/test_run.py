from __future__ import annotations

import json

import numpy as np
import pytest

import nbcnn
from nbcnn import reference, resources
from nbcnn.frontends.preprocess import load_image

SAMPLES = resources.folder("graphs") / "samples"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_every_sample_digit_is_recognised(cli) -> None:
    paths = [SAMPLES / f"{word}.png" for word in DIGITS]
    result = cli("run", "digits", *paths, "--top", 1)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[::2] == list(map(str, paths))
    assert [line.split()[-1] for line in lines[1::2]] == list("0123456789")


def test_json_holds_probabilities_of_the_reference(cli) -> None:
    path = SAMPLES / "three.png"
    (found,) = json.loads(cli("run", "digits", path, "--json", "--top", 10, "--passes", "none").stdout)
    assert found["image"] == str(path)
    graph = nbcnn.load("digits")
    scores = reference.run(graph, load_image(path, graph), np.float64)["fc"][0]
    want = np.exp(scores) / np.exp(scores).sum()
    assert [c["index"] for c in found["classes"]] == np.argsort(-want).tolist()
    for guess in found["classes"]:
        assert guess["label"] == str(guess["index"])
        assert guess["probability"] == pytest.approx(want[guess["index"]], abs=1e-4)


def test_other_weights(cli, tmp_path) -> None:
    nbcnn.save(nbcnn.load("digits"), tmp_path / "copy.yaml")
    weights = tmp_path / "copy.safetensors"
    result = cli("run", "digits", SAMPLES / "six.png", "--top", 1, "--weights", weights)
    assert result.stdout.split()[-1] == "6"


def test_refusals(fails, tmp_path) -> None:
    image, text = SAMPLES / "one.png", tmp_path / "text.png"
    text.write_text("not an image")
    assert "text.png" in fails("run", "digits", text)
    assert "text.png" in fails("run", "digits", image, text)
    assert "missing.png" in fails("run", "digits", tmp_path / "missing.png")
    assert str(tmp_path) in fails("run", "digits", tmp_path)
    assert "did you mean 'digits'" in fails("run", "digist", image)
    assert "w.safetensors" in fails("run", "digits", image, "--weights", tmp_path / "w.safetensors")
    text.write_bytes(b"\x10")
    assert "text.png" in fails("run", "digits", image, "--weights", text)
    assert "unknown pipeline or pass" in fails("run", "digits", image, "--passes", "fastest")


def test_only_classifiers_of_images(fails, tmp_path) -> None:
    model = tmp_path / "m.yaml"
    node = "{name: a, op: relu}"
    for shape, says in (("[N, 7]", "does not take images"), ("[N, 3, 4, 4]", "no classifier")):
        model.write_text(f"format: 1\nname: m\ninputs: {{x: {shape}}}\nnodes: [{node}]\n")
        assert says in fails("run", model, SAMPLES / "one.png")
