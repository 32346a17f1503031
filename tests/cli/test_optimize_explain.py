from __future__ import annotations

import json

import pytest

import nbcnn
from nbcnn.cli.optimize import collapsed


def test_optimize_prints_each_pass_and_writes_the_result(cli, tmp_path) -> None:
    result = cli("optimize", "digits", "-o", tmp_path / "out.yaml", "--verify", "--time-passes", "--diff")
    assert result.exit_code == 0
    out = result.stdout
    for word in ("fuse-conv-bn", "12 -> 9", "within rounding", "seconds", "bn1: folded into 'conv1'"):
        assert word in out
    assert "+ relu1 = fused(image, bn1.folded_weight, bn1.folded_bias)" in out
    want = nbcnn.optimize(nbcnn.load("digits"))
    got = nbcnn.load(tmp_path / "out.yaml")
    assert got.nodes == want.nodes


def test_optimize_as_json_with_a_limit(cli) -> None:
    report = json.loads(
        cli(
            "optimize", "digits", "--passes", "fuse-conv-bn", "--limit", 2, "--json", "--verify", "--diff"
        ).stdout
    )
    (done,) = report["passes"]
    assert [r["node"] for r in done["rewrites"]] == ["bn1", "bn2"]
    assert done["before"]["nodes"] - done["after"]["nodes"] == 2
    assert done["before"]["macs"] == done["after"]["macs"]
    assert done["before"]["nbytes"] > done["after"]["nbytes"]
    assert done["verified"]["right"] and done["diff"].startswith("- weight conv1.weight")


def test_optimize_dumps_after_each_pass(cli, tmp_path) -> None:
    folder = tmp_path / "new" / "dump"
    assert (
        cli("optimize", "lenet5", "--passes", "remove-dead, fuse-activation", "--dump", folder).exit_code == 0
    )
    assert sorted(p.name for p in folder.iterdir()) == [
        f"{name}.{kind}"
        for name in ("00-start", "01-remove-dead", "02-fuse-activation")
        for kind in ("txt", "yaml")
    ]
    assert (folder / "02-fuse-activation.txt").read_text().startswith("graph lenet5\n")
    assert nbcnn.load(folder / "02-fuse-activation.yaml").macs == nbcnn.load("lenet5").macs


def test_optimize_to_onnx(cli, tmp_path) -> None:
    pytest.importorskip("onnx")
    assert cli("optimize", "lenet5", "-o", tmp_path / "out.onnx").exit_code == 0
    assert (tmp_path / "out.onnx").stat().st_size > 200_000


def test_options_of_the_pipeline(cli, fails, tmp_path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "format: 1\noptions: {at_most: 8}\npasses:\n  - repeat: {max: $at_most, passes: [remove-dead]}\n"
    )
    for words in (["--at-most", "2"], ["--at_most=2"], []):
        assert cli("optimize", "lenet5", "--passes", path, *words).exit_code == 0
    assert "max must be a whole number" in fails("optimize", "lenet5", "--passes", path, "--at-most", "0")
    assert "did you mean 'at_most'?" in fails("optimize", "lenet5", "--passes", path, "--at-mots", "2")
    assert "expected int, got 'x'" in fails("optimize", "lenet5", "--passes", path, "--at-most=x")
    assert "needs a value" in fails("optimize", "lenet5", "--passes", path, "--at-most")
    assert "unexpected 'more'" in fails("optimize", "lenet5", "more")


def test_explain(cli) -> None:
    why = ("explain", "digits", "--why-not", "fuse-conv-bn", "--node")
    assert "rewrite 1 at 'bn1': folded into 'conv1'" in cli(*why, "conv1").stdout
    assert "not a candidate" in cli(*why, "pool").stdout
    assert json.loads(cli(*why, "pool", "--json").stdout)[0].startswith("'pool' is not a candidate")
    fate = cli("explain", "digits", "--node", "bn1").stdout
    assert "a node -> inside 'relu1'" in fate
    assert json.loads(cli("explain", "digits", "--node", "bn1", "--json").stdout)
    assert (
        "no pass touched 'fc'" in cli("explain", "digits", "--node", "fc", "--passes", "fuse-conv-bn").stdout
    )
    assert "no near misses" in cli("explain", "digits", "--passes", "none").stdout


def test_explain_refuses(fails) -> None:
    assert "did you mean 'conv1'?" in fails("explain", "digits", "--node", "konv1")
    assert "did you mean 'fuse-conv-bn'?" in fails("explain", "digits", "--why-not", "fuse-con-bn")


def test_explain_kernels(cli) -> None:
    out = cli("explain", "digits", "--kernels").stdout
    assert "relu1" in out and "estimated" in out and "f32_" in out
    steps = json.loads(cli("explain", "digits", "--kernels", "--node", "fc", "--json").stdout)
    (step,) = [step for step in steps if step["op"] != "layout"]
    assert step["op"] == "dense" and step["candidates"] and step["macs"] > 0


def test_what_many_have_in_common_is_said_once() -> None:
    found = [(f"bn{i}", f"folded into 'conv{i}'") for i in range(9)] + [("x", "else")]
    assert collapsed(found) == [
        *(f"bn{i}: folded into 'conv{i}'" for i in range(3)),
        "... and 6 more like these",
        "x: else",
    ]
    assert len(collapsed(found[:4])) == 4
