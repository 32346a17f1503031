"""What ``nbcnn sensitivity`` prints and writes; the measuring is tested in tests/debug."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

import nbcnn
from nbcnn.lower.model import StepTime
from nbcnn.passes import fusing
from nbcnn.passes.prune_report import rows

QUICK = ("lenet5", "--count", "2", "--shares", "0.5,0.9")


def test_table_spec_and_prune(cli, tmp_path) -> None:
    spec = tmp_path / "spec.yaml"
    result = cli("sensitivity", *QUICK, "--sparsity", "0.7", "-o", spec)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "error at each share of zeros" in lines[0] and "2 samples" in lines[0]
    for name in ("conv2", "fc1", "fc2"):
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert len(re.findall(r" \d\.\d{4}", line)) == 2
    assert any(line.startswith("chosen: error") for line in lines)
    assert any(line.startswith("uniform: error") for line in lines)
    cli("prune", "lenet5", "--spec", spec, "-o", tmp_path / "out.yaml")
    found = [row for row in rows(nbcnn.load(tmp_path / "out.yaml")) if row.layer in ("conv2", "fc1", "fc2")]
    assert sum(row.zeros for row in found) >= 0.7 * sum(row.elements for row in found)


def test_json(cli) -> None:
    found = json.loads(cli("sensitivity", *QUICK, "--time", "0.5", "--json").stdout)
    assert (found["model"], found["samples"], found["shares"]) == ("lenet5", 2, [0.5, 0.9])
    assert [entry["layer"] for entry in found["layers"]] == ["conv2", "fc1", "fc2"]
    assert all(0 < entry["errors"][0] < entry["errors"][1] for entry in found["layers"])
    left = sum(entry["macs"] * (1 - found["chosen"].get(entry["layer"], 0)) for entry in found["layers"])
    assert left <= 0.5 * sum(entry["macs"] for entry in found["layers"])
    assert found["chosen_error"] > 0 and found["uniform_error"] > 0
    assert "accuracy" not in found


def test_a_budget_in_milliseconds(cli, fails, tmp_path) -> None:
    words = ("sensitivity", "cifar_cnn", "--count", "2", "--shares", "0.5,0.9", "--threads", "1")
    message = fails(*words, "--milliseconds", "1e-6")
    (least,) = re.findall(r"^error: 1e-06 ms cannot be reached with shares up to 0.9: (\S+) ms is", message)
    (dense,) = re.findall(r"dense, the model takes (\S+) ms$", fails(*words, "--milliseconds", "1e6"))
    assert 0 < float(least) < 2 * float(dense)


def test_what_a_budget_in_milliseconds_tells(cli, tmp_path, monkeypatch) -> None:
    """With times that are known: fc1 is the only layer that gains."""

    def profile(graph):
        left = 1 - max(row.share for row in rows(graph) if row.layer == "fc1")
        times = {"conv2": 2.0, "fc1": 8 * left}
        names = [next((p.name for p in fusing.parts(n) if p.name in times), n.name) for n in graph.nodes]
        return [StepTime(name, "", "", 1e-3 * times.get(name, 1.0), 0, 0, 0) for name in names]

    monkeypatch.setattr("nbcnn.debug.layer_times.profiled", lambda *_: profile)
    words = ("cifar_cnn", "--count", "2", "--shares", "0.5,0.9", "--milliseconds", "12")
    result = cli("sensitivity", *words, "-o", tmp_path / "s.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["conv2", "2.0000", "2.0000", "2.0000"] in lines
    assert ["fc1", "8.0000", "4.0000", "0.8000"] in lines
    assert ["the", "rest", "5.0000"] in lines
    assert "dense: 15 ms; chosen: 11 ms, step by step; measured as a whole" in result.stdout
    assert "fc1" in (tmp_path / "s.yaml").read_text() and "conv2" not in (tmp_path / "s.yaml").read_text()
    found = json.loads(cli("sensitivity", *words, "--json").stdout)
    assert found["chosen"] == {"fc1": 0.5}
    assert found["layers"][1]["milliseconds"] == pytest.approx([8.0, 4.0, 0.8], rel=1e-3)
    assert found["rest_milliseconds"] == pytest.approx(5.0)
    assert found["chosen_milliseconds"] == pytest.approx(11.0)
    assert found["measured_milliseconds"] > 0


def test_labels_give_accuracies(cli, tmp_path) -> None:
    rng = np.random.default_rng(0)
    shape = nbcnn.load("digits").inputs["image"].extents(6)
    np.savez(tmp_path / "d.npz", x=rng.random(shape), y=np.arange(6))
    words = ("sensitivity", "digits", "--data", tmp_path / "d.npz", "--shares", "0.5", "--pattern", "1x4")
    assert "accuracy (dense" in cli(*words).stdout
    found = json.loads(cli(*words, "--json").stdout)
    assert 0 <= found["accuracy"] <= 1
    assert all(len(entry["accuracy"]) == 1 for entry in found["layers"])


def test_layers_that_the_pattern_does_not_fit_are_told(cli) -> None:
    result = cli("sensitivity", *QUICK, "--pattern", "1x16", "--keep", "none")
    assert "left out: conv1: 1x16 needs a multiple of 16 output channels, it has 6" in result.stdout


def test_a_picture(cli, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    for suffix in ("png", "svg"):
        assert cli("sensitivity", *QUICK, "--plot", tmp_path / f"p.{suffix}").exit_code == 0
        assert (tmp_path / f"p.{suffix}").stat().st_size > 1000


def test_without_matplotlib(fails, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = fails("sensitivity", *QUICK, "--plot", tmp_path / "p.png")
    assert "--plot needs matplotlib: pip install 'nbcnn[plot]'" in message


@pytest.mark.parametrize(
    "words, says",
    [
        (("--sparsity", "0.5", "--time", "0.5"), "--sparsity and --time exclude each other"),
        (("--time", "0.5", "--milliseconds", "5"), "--time and --milliseconds exclude each other"),
        (("--milliseconds", "0"), "--milliseconds must be above 0, got 0"),
        (("-o", "s.yaml"), "-o needs a target"),
        (("--sparsity", "0.99"), "99.0% zeros cannot be reached with shares up to 0.9"),
        (("--sparsity", "1.5"), "sparsity must be above 0 and below 1"),
        (("--shares", "0.5,x"), "--shares takes numbers"),
        (("--shares", "1"), "shares must be above 0 and below 1"),
        (("--pattern", "2:4", "--shares", "0.6"), "shares must be 0.5 for 2:4"),
        (("--pattern", "3:4"), "option 'pattern': unknown '3:4'"),
        (("--keep", "con1"), "is called 'con1'; did you mean 'conv1'?"),
        (("--data", "none.npz"), "none.npz: cannot be read"),
        (("--plot", "p.txt"), "the name must end in one of .png, .svg, .pdf"),
        (("--plot", "nowhere/p.png"), "there is no folder 'nowhere'"),
        (("--sparsity", "0.5", "-o", "nowhere/s.yaml"), "-o nowhere/s.yaml: No such file"),
    ],
)
def test_refusals(fails, words, says) -> None:
    assert says in fails("sensitivity", *QUICK, *words)
