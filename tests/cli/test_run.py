from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

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


SCENES = [SAMPLES / "scenes" / f"scene{number}.png" for number in (1, 2)]


def test_a_detector_draws_boxes(cli, tmp_path) -> None:
    result = cli("run", "digit_scenes", *SCENES, "-o", tmp_path / "found")
    assert result.exit_code == 0
    for scene in SCENES:
        target = tmp_path / "found" / f"{scene.stem}.digit_scenes.png"
        assert f"{scene} -> {target}\n" in result.stdout
        before, after = Image.open(scene).convert("RGB"), Image.open(target)
        assert after.size == before.size
        changed = (np.asarray(before) != np.asarray(after)).any(axis=2).mean()
        assert 0.01 < changed < 0.3
    assert "%  6  at 1" in result.stdout


def test_json_of_a_detector(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = json.loads(cli("run", "digit_scenes", SCENES[0], "--json", "--top", 2).stdout)
    assert found["image"] == str(SCENES[0])
    assert found["picture"] == "scene1.digit_scenes.png"
    assert (tmp_path / found["picture"]).is_file()  # in the current folder, where nothing else is said
    first, second = found["boxes"]
    assert first.keys() == {"index", "label", "score", "left", "top", "right", "bottom"}
    assert 1 > first["score"] >= second["score"] > 0.25
    assert 0 <= first["left"] < first["right"] <= 384


def test_a_segmenter_paints_classes(cli, tmp_path) -> None:
    target = tmp_path / "painted.jpg"
    result = cli("run", "digit_masks", SCENES[1], "-o", target)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{SCENES[1]} -> {target}"
    assert lines[1].endswith("%  ground")
    assert {line.split()[-1] for line in lines[2:]} >= {"4", "6", "9"}
    assert Image.open(target).size == (384, 384)
    (found,) = json.loads(cli("run", "digit_masks", SCENES[1], "-o", target, "--json").stdout)
    assert sum(s["share"] for s in found["segments"]) == pytest.approx(1)


def test_pictures_that_will_not_be_written(fails, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = SCENES
    assert "'digits' classifies images" in fails("run", "digits", SAMPLES / "six.png", "-o", "x.png")
    assert "is one file for 2 images" in fails("run", "digit_scenes", one, two, "-o", "x.png")
    assert "should end in .png, .jpg" in fails("run", "digit_scenes", one, "-o", "x.txt")
    copy = tmp_path / "copy.png"
    copy.write_bytes(one.read_bytes())
    assert "written over" in fails("run", "digit_scenes", copy, "-o", copy)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "copy.png").write_bytes(two.read_bytes())
    assert "written over" in fails("run", "digit_scenes", copy, "a/copy.png")
    assert copy.read_bytes() == one.read_bytes()
    (tmp_path / "file").touch()
    assert "cannot be written" in fails("run", "digit_scenes", copy, "-o", "file/x.png")


def test_a_models_name_is_no_path(cli, tmp_path, monkeypatch) -> None:
    model = tmp_path / "m.yaml"
    model.write_text(
        "format: 1\nname: ../../up\ninputs: {x: [N, 1, 8, 8]}\ntask: segmentation\n"
        "nodes: [{name: a, op: conv2d, channels: 2, kernel: 1}]\n"
    )
    (tmp_path / "in" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in" / "here")
    assert cli("run", model, SAMPLES / "one.png").exit_code == 0
    assert [p.name for p in (tmp_path / "in" / "here").iterdir()] == ["one.______up.png"]
