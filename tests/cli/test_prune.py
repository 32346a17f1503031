"""What ``nbcnn prune`` makes of its options, prints and writes; the pass is tested in tests/passes."""

from __future__ import annotations

import json

import pytest

import nbcnn
from nbcnn.passes.prune_report import rows


def zeros(path) -> dict[str, int]:
    return {row.layer: row.zeros for row in rows(nbcnn.load(path)) if row.zeros}


def test_it_prints_each_layer_and_writes_the_model(cli, tmp_path) -> None:
    result = cli("prune", "digits", "--sparsity", "0.75", "--pattern", "1x4", "-o", tmp_path / "d.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "prune{sparsity=0.75, pattern=1x4}" in result.stdout
    graph = nbcnn.load(tmp_path / "d.yaml")
    for row in rows(graph):
        (line,) = (line for line in result.stdout.splitlines() if line.split()[:1] == [row.layer])
        assert f"{row.elements:,}" in line
        assert ("75.0%" in line and "1x4" in line) == row.masked == bool(row.zeros)
    masked = [row for row in rows(graph) if row.masked]
    assert masked
    for row in masked:
        assert (row.zeros, row.pattern) == (0.75 * row.elements, "1x4")
        assert row.macs_left == row.macs // 4
    dense, sparse = tmp_path / "dense.yaml", tmp_path / "d.safetensors"
    nbcnn.save(nbcnn.load("digits"), dense)
    assert sparse.stat().st_size < dense.with_suffix(".safetensors").stat().st_size


def test_json_and_options(cli, tmp_path) -> None:
    words = (
        "--criterion",
        "random",
        "--distribution",
        "erk",
        "--seed",
        "3",
        "--sparsity",
        "0.5",
        "--keep",
        "none",
    )
    result = cli("prune", "lenet5", *words, "--layers", "fc1=0.9, conv*=0", "--json")
    found = json.loads(result.stdout)
    assert found["model"] == "lenet5"
    options = "sparsity=0.5, criterion=random, distribution=erk, keep=[], layers={fc1=0.9, conv*=0.0}, seed=3"
    assert found["passes"] == f"prune{{{options}}}"
    layers = {entry["layer"]: entry for entry in found["layers"]}
    assert layers["fc1"]["zeros"] == round(0.9 * layers["fc1"]["elements"])
    assert layers["conv1"]["zeros"] == 0
    assert layers["fc1"]["pattern"] == "unstructured"


def test_the_users_weights_and_a_spec(cli, tmp_path) -> None:
    nbcnn.save(nbcnn.load("lenet5", seed=7), tmp_path / "w.yaml")
    spec = tmp_path / "spec.yaml"
    spec.write_text("format: 1\npasses:\n  - prune: {layers: {fc1: 0.5}}\n")
    weights = tmp_path / "w.safetensors"
    cli("prune", "lenet5", "--spec", spec, "--weights", weights, "-o", tmp_path / "o.yaml")
    fc1 = nbcnn.load("lenet5", seed=7).weight("fc1.weight")
    assert zeros(tmp_path / "o.yaml") == {"fc1": round(0.5 * fc1.array.size)}
    got = nbcnn.load(tmp_path / "o.yaml").weight("fc1.weight")
    assert (got.array[got.mask] == fc1.array[got.mask]).all()


def test_channels_go_and_the_table_tells_which(cli, tmp_path) -> None:
    result = cli("prune", "digits", "--channels", "0.5", "-o", tmp_path / "d.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "prune-channels{ratio=0.5}" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["conv2", "32", "16", "4,608", "1,152", "294,912", "73,728"] in lines
    why = ["'fc'", "is", "an", "output", "of", "the", "graph"]
    assert ["fc", "10", "10", "10,250", "5,130", "10,240", "5,120", *why] in lines
    dense, small = nbcnn.load("digits"), nbcnn.load(tmp_path / "d.yaml")
    (whole,) = (line for line in lines if line[:2] == ["whole", "model"])
    assert whole[2:6] == [f"{n:,}" for n in (dense.parameters, small.parameters, dense.macs, small.macs)]
    assert not zeros(tmp_path / "d.yaml")
    assert "batch_norm" in {node.op.name for node in small.nodes}


def test_macs_and_a_table_in_json(cli, tmp_path) -> None:
    words = ("--macs", "0.5", "--round-to", "1", "--criterion", "l1", "--distribution", "global")
    result = cli("prune", "resnet18", *words, "--keep", "first", "--json", "-o", tmp_path / "r.yaml")
    found = json.loads(result.stdout)
    options = "macs=0.5, criterion=l1, distribution=global, round_to=1, keep=[first]"
    assert (found["model"], found["passes"]) == ("resnet18", f"prune-channels{{{options}}}")
    small = nbcnn.load(tmp_path / "r.yaml")
    assert (found["parameters_left"], found["macs_left"]) == (small.parameters, small.macs)
    assert 0.47 * found["macs"] < found["macs_left"] <= 0.5 * found["macs"]
    first = found["groups"][0]
    assert first["layers"][0] == "conv1" and len(first["layers"]) > 1  # with what is added to it
    assert (first["channels"], first["channels_left"]) == (64, 64)
    assert "'first' is to be kept" in first["why"]
    assert sum(len(group["layers"]) for group in found["groups"]) == 21


def test_an_onnx_file_has_the_zeros(cli, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    cli("prune", "lenet5", "--sparsity", "0.9", "--keep", "last", "-o", tmp_path / "o.onnx")
    found = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "o.onnx").graph.initializer}
    assert (found["fc1.weight"] == 0).mean() == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    "words, says",
    [
        ((), "option 'sparsity': is missing"),
        (("--sparsity", "1"), "option 'sparsity': must be from 0 to below 1, got 1"),
        (
            ("--sparsity", "0.5", "--pattern", "2:4", "--keep", ""),
            "layer 'conv1' and 1 more: 2:4 needs a multiple of 4 input channels, it has 1",
        ),
        (("--sparsity", "0.5", "--pattern", "1x4", "--keep", ""), "4 output channels, it has 6"),
        (("--sparsity", "0.9", "--pattern", "4:8"), "must be 0.5 for 4:8, got 0.9"),
        (("--sparsity", "0.5", "--keep", "firts"), "is called 'firts'; did you mean 'first'?"),
        (("--sparsity", "0.5", "--layers", "con1=0.5"), "is called 'con1'; did you mean 'conv1'?"),
        (("--layers", "conv1"), "--layers takes LAYER=SHARE"),
        (("--layers", "conv1=[1"), "--layers takes LAYER=SHARE"),
        (("--layers", "conv1=much"), "option 'layers.conv1': "),
        (("--spec", "none.yaml"), "none.yaml"),
        (("--spec", "s.yaml", "--sparsity", "0.5"), "--sparsity has no place beside --spec"),
        (("--spec", "s.yaml", "--round-to", "4"), "--round-to has no place beside --spec"),
        (("--channels", "0.5", "--sparsity", "0.5"), "--channels and --sparsity exclude each other"),
        (("--threshold", "1", "--macs", "0.5"), "--macs and --threshold exclude each other"),
        (("--channels", "0.5", "--macs", "0.5"), "--channels and --macs exclude each other"),
        (("--channels", "0.5", "--pattern", "1x4"), "--channels and --pattern exclude each other"),
        (("--channels", "1"), "option 'ratio': must be from 0 to below 1"),
        (("--macs", "0.0001"), "macs=0.0001 is out of reach"),
        (("--round-to", "4"), "--round-to needs --channels or --macs"),
        (("--channels", "0.5", "--criterion", "magnitude"), "unknown 'magnitude'; expected one of: l1, l2"),
        (("--sparsity", "0.5", "--criterion", "best"), "option 'criterion': unknown 'best'"),
    ],
)
def test_refusals(fails, words, says) -> None:
    assert says in fails("prune", "lenet5", *words)


def test_a_name_of_another_kind_of_file(cli, tmp_path) -> None:
    result = cli("prune", "lenet5", "--sparsity", "0.5", "-o", tmp_path / "o.txt")
    assert result.exit_code == 2
    assert "must end in .yaml" in result.stderr
