from __future__ import annotations

import pytest

import nbcnn
from nbcnn import resources


def test_list_names_every_model(cli) -> None:
    result = cli("list")
    assert result.exit_code == 0
    for name in resources.names("graphs"):
        assert f" {name} " in result.stdout
    assert "25,557,032" in result.stdout
    assert "N x 3 x 224 x 224" in result.stdout


def test_show_gives_each_layer_and_the_totals(cli) -> None:
    lines = [" ".join(line.split()) for line in cli("show", "lenet5").stdout.splitlines()]
    assert "conv1 conv2d N x 6 x 28 x 28 156 117,600 18.4 KiB" in lines
    assert "12 layers 61,706 416,520 58.6 KiB" in lines
    # conv1's result beside that of its tanh: 2 x 6 x 28 x 28 x 4 bytes
    assert "peak of the values alive at once, layer by layer: 36.8 KiB" in lines


def test_show_after_passes(cli) -> None:
    out = cli("show", "digits", "--passes", "default").stdout
    assert "conv2d+relu" in out
    assert "batch_norm" not in out


def test_show_compiled(cli) -> None:
    out = cli("show", "lenet5", "--passes", "default", "--compile").stdout
    for word in ("arena", "scratch", "conversions", "tables", "weights"):
        assert f"{word} " in out


def test_show_takes_a_path(cli, tmp_path) -> None:
    nbcnn.save(nbcnn.load("lenet5"), tmp_path / "own.yaml")
    assert "61,706" in cli("show", tmp_path / "own.yaml").stdout


@pytest.mark.parametrize(
    "words, says",
    [
        (("lent5",), "did you mean 'lenet5'?"),
        (("missing.yaml",), "missing.yaml: no such file"),
        (("lenet5", "--passes", "defualt"), "did you mean 'default'?"),
        (("lenet5", "--passes", "missing.yaml"), "missing.yaml"),
    ],
)
def test_show_refuses(fails, words, says) -> None:
    assert says in fails("show", *words)


def test_malformed_yaml(fails, tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text("format: 1\nnodes: [a, }")
    assert "bad.yaml:2" in fails("show", tmp_path / "bad.yaml")
