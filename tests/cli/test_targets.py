"""``--target`` and ``--precision``: they arrive, and what cannot be is refused in one line."""

from __future__ import annotations

import pytest

from nbcnn import resources
from nbcnn.errors import DeviceError
from nbcnn.lower import build, device_build, targets

DIGIT = resources.folder("graphs") / "samples" / "six.png"
VERBS = {"run": ("run", "digits", DIGIT), "explain": ("explain", "digits", "--kernels")}


@pytest.fixture
def asked(monkeypatch):
    """Targets and precisions that programs are compiled for; all run on the CPU."""
    found = []

    def compile_graph(graph, target, options, progress):
        found.append((target, options.precision))
        return build.compile_graph(graph, type(options)(threads=1), progress)

    monkeypatch.setattr(targets, "compile_graph", compile_graph)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_target_and_precision_arrive(cli, asked, verb):
    assert cli(*VERBS[verb]).exit_code == 0
    assert cli(*VERBS[verb], "--target", "cuda", "--precision", "tf32").exit_code == 0
    assert asked == [("cpu", "float32"), ("cuda", "tf32")]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "words, says",
    [
        (("--target", "cdua"), "unknown target 'cdua'; did you mean 'cuda'?"),
        (("--precision", "float61"), "unknown precision 'float61'; did you mean 'float16'?"),
        (("--precision", "tf32"), "precision 'tf32' needs target 'cuda'"),
    ],
)
def test_refusals(fails, verb, words, says):
    assert says in fails(*VERBS[verb], *words)


@pytest.mark.parametrize("verb", VERBS)
def test_a_machine_without_a_gpu(fails, monkeypatch, verb):
    def open_device(index):
        raise DeviceError(f"there is no GPU {index}")

    monkeypatch.setattr(device_build, "open_device", open_device)
    assert fails(*VERBS[verb], "--target", "cuda") == "error: there is no GPU 0"
