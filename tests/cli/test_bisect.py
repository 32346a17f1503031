from __future__ import annotations

import json

import numpy as np
import pytest
from planted import residual_network
from strategies import Builder

import nbcnn
from nbcnn.ops.activation import Relu


@pytest.fixture
def model(tmp_path):
    nbcnn.save(residual_network(), tmp_path / "net.yaml")
    return tmp_path / "net.yaml"


def test_nothing_wrong(cli, model) -> None:
    result = cli("bisect", model, "--threads", 1)
    assert result.exit_code == 0
    assert "Nothing is wrong." in result.stdout
    assert "compiled program" in result.stdout


def test_a_planted_fault_fits_on_a_screen_and_shrinks(cli, model, tmp_path) -> None:
    passes, small = "fuse-conv-bn, planted:WrongBranch", tmp_path / "small.yaml"
    result = cli("bisect", model, "--passes", passes, "--shrink", small)
    assert result.exit_code == 1
    assert "Wrong pass: number 2, planted:WrongBranch" in result.stdout
    assert "first wrong rewrite: 3 of '2.add': rewritten" in result.stdout
    assert "'2.add' is not the same bit by bit" in result.stdout
    assert len(result.stdout.splitlines()) <= 40
    assert "shrunk to" in result.stdout
    again = cli("bisect", small, "--passes", passes, "--json")
    assert again.exit_code == 1
    assert json.loads(again.stdout)["fault"]["step"] == "planted:WrongBranch"


def test_json_and_input(cli, model, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3, 12, 12), np.float32))
    words = ("--passes", "planted:WrongBranch", "--input", tmp_path / "x.npy", "--rtol", "1e-3", "--json")
    report = json.loads(cli("bisect", model, *words).stdout)
    assert report["fault"]["rewrite"]["node"] == "2.add"
    assert report["tensors"][0]["name"] == "2.add"
    np.savez(tmp_path / "x.npz", x=np.ones((1, 3, 12, 12), np.float32))
    fine = cli("bisect", model, "--passes", "none", "--input", tmp_path / "x.npz", "--json", "--no-compiled")
    assert json.loads(fine.stdout)["fault"] is None
    assert fine.exit_code == 0


def test_refusals(fails, model, tmp_path) -> None:
    assert "y.npy" in fails("bisect", model, "--input", tmp_path / "y.npy")
    np.save(tmp_path / "y.npy", np.ones((1, 2)))
    assert "should be float32[N, 3, 12, 12]" in fails("bisect", model, "--input", tmp_path / "y.npy")
    (tmp_path / "z.npz").write_text("no arrays")
    assert "z.npz" in fails("bisect", model, "--input", tmp_path / "z.npz")
    assert "must end in .yaml" in fails("bisect", model, "--shrink", "out.onnx")
    assert "no such folder" in fails("bisect", model, "--shrink", tmp_path / "none" / "out.yaml")
    assert "unknown pipeline or pass" in fails("bisect", model, "--passes", "defalt")


def test_shrink_needs_a_fault_that_noise_shows(cli, fails, tmp_path) -> None:
    build, model = Builder(), tmp_path / "relu.yaml"
    nbcnn.save(build.graph(build("relu", Relu(), build.input(3, 4, 4))), model)
    np.save(tmp_path / "x.npy", np.full((1, 3, 4, 4), 7, np.float32))
    words = ("bisect", model, "--passes", "planted:Clamps", "--shrink", tmp_path / "out.yaml")
    assert cli(*words).exit_code == 0
    assert cli(*words[:-2], "--input", tmp_path / "x.npy").exit_code == 1
    assert "seeded noise" in fails(*words, "--input", tmp_path / "x.npy")
    assert not (tmp_path / "out.yaml").exists()
