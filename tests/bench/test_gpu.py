"""What the bench does on a GPU, as far as a CPU can show it."""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
from dataclasses import replace

import numpy as np
import onnx
import pytest
from rich.console import Console

import nbcnn
from nbcnn.bench import Job, machine, measure
from nbcnn.bench.engines import ENGINES, NBCNN, Task, select
from nbcnn.bench.judge import judge
from nbcnn.bench.prepare import prepare
from nbcnn.bench.report import PIPED_WIDTH, Result, show
from nbcnn.errors import OptionError

rng = np.random.default_rng(5)


@pytest.fixture(scope="module")
def torch():
    found = pytest.importorskip("torch")
    kept = (found.backends.cudnn.benchmark, found.backends.cudnn.allow_tf32)
    yield found
    found.backends.cudnn.benchmark, found.backends.cudnn.allow_tf32 = kept
    found.backends.cuda.matmul.allow_tf32 = False


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return prepare(Job("cifar_cnn", batch=2, target="cuda"), tmp_path_factory.mktemp("bench"))


def session(task, **options):
    from nbcnn.bench.engines.torch_cuda import TorchCuda

    return TorchCuda(task, device="cpu", **options)


@pytest.mark.parametrize(
    "precision, tolerance",
    [("float32", 1e-5), ("tf32", 1e-5), ("3xtf32", 1e-5), ("float16", 1e-2), ("bfloat16", 1e-1)],
)
def test_torch_computes_the_network_in_each_precision(torch, task, precision, tolerance):
    engine = session(replace(task, precision=precision))
    x = rng.standard_normal((2, 3, 32, 32), np.float32)
    engine.compile({"image": x})
    (got,) = engine.read(engine.run()).values()
    (want,) = nbcnn.compile(nbcnn.load("cifar_cnn"), threads=1).run({"image": x}).values()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    assert engine.precision == ("float32" if precision == "3xtf32" else precision)
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    engine.compile({"image": x[:1]})  # another batch on the same weights
    assert next(iter(engine.read(engine.run()).values())).shape[0] == 1


def test_weights_and_images_lie_in_channels_last_and_inputs_do_not(torch, task):
    engine = session(replace(task, precision="float16"))
    engine.compile({"image": rng.standard_normal((2, 3, 32, 32), np.float32)})
    (given,) = engine._inputs
    assert given.dtype == torch.float32 and given.is_contiguous()
    taken = engine._prepared(given)
    assert taken.dtype == torch.float16 and taken.is_contiguous(memory_format=torch.channels_last)
    filters = [w for w in engine._module.buffers() if w.ndim == 4 and w.shape[1] > 1]
    assert filters and all(w.is_contiguous(memory_format=torch.channels_last) for w in filters)


def test_torch_compile_gets_its_mode(torch, task, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: asked.append(options) or module)
    (row,) = select(["torch.compile"], "cuda")
    engine = session(task, **row.options)
    assert asked == [{"mode": "max-autotune-no-cudagraphs", "dynamic": False}]
    assert engine.note == "torch.compile, max-autotune, in a CUDA graph"


def test_without_a_gpu_torch_says_so(torch, task, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for row in select(["torch", "torch.compile"], "cuda"):
        module, _, name = row.factory.partition(":")
        with pytest.raises(RuntimeError, match=r"PyTorch .* sees no GPU"):
            getattr(importlib.import_module(module), name)(task, **row.options)


@pytest.mark.parametrize("target, folded", [("cpu", False), ("cuda", True)])
def test_gpu_engines_get_folded_batch_norms(tmp_path, target, folded):
    task = prepare(Job("digits", target=target), tmp_path)
    ops = {node.op_type for node in onnx.load(str(task.onnx)).graph.node}
    assert ("BatchNormalization" in ops) == (not folded)
    assert task.target == target


def test_engines_are_those_of_the_target():
    assert [row.factory.rpartition(":")[2] for row in select(["torch"])] == ["Torch"]
    assert [row.factory.rpartition(":")[2] for row in select(["torch"], "cuda")] == ["TorchCuda"]
    assert [row.name for row in select(["dense"], "cuda")] == ["nbcnn (dense)"]
    with pytest.raises(OptionError, match="'openvino' is no match for target 'cuda'; expected one of: dense"):
        select(["openvino"], "cuda")
    with pytest.raises(OptionError, match=r"'torch.compile' is no match for target 'cpu'"):
        select(["torch.compile"])
    assert all("cpu" in row.targets or "cuda" in row.targets for rows in ENGINES.values() for row in rows)


def test_a_target_that_does_not_exist():
    with pytest.raises(OptionError, match="unknown target 'cdua'; did you mean 'cuda'"):
        Job("digits", target="cdua")


def test_the_devices_time_is_asked_for_on_a_gpu_alone(fake, tmp_path):
    np.savez(tmp_path / "inputs.npz", np.ones((1, 3), np.float32), names=np.array(["x"]))
    engines = [fake("nbcnn", "OnDevice"), fake("peer", "OnDevice", scale=2.0), fake("old")]
    for target in ("cpu", "cuda"):
        task = Task(str(tmp_path), target=target)
        found = measure.measure(engines, task, seconds=0.1, warmup=1, block_s=0.01)
        rows, _ = judge(found, 1)
        if target == "cpu":
            assert [row.device_ms for row in rows] == [None, None, None]
        else:
            assert [row.device_ms for row in rows] == [1.5, 3.0]
            assert "device_seconds" in found.failed["old"]
        shown = table(rows, target)
        assert ("device ms" in shown) == (target == "cuda")
        assert ("cuda at float16" in shown) == (target == "cuda")


def table(rows, target):
    result = Result("m", 1, 1, 1, target, "float16", "default", machine.describe(target), rows)
    assert all(("device_ms" in entry) == (target == "cuda") for entry in result.as_json()["engines"])
    out = io.StringIO()
    show(result, Console(file=out, width=PIPED_WIDTH))
    return out.getvalue()


def test_the_machine_names_its_gpu(monkeypatch):
    def run(words, **_):
        return subprocess.CompletedProcess(words, 0, "NVIDIA H200, 580.1\nNVIDIA H200, 580.1\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = machine.describe("cuda")
    assert (found["gpu"], found["driver"]) == ("NVIDIA H200", "580.1")
    assert machine.summary(found).startswith("NVIDIA H200, driver 580.1, ")
    assert "gpu" not in machine.describe()


def test_a_machine_without_a_gpu(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert machine.describe("cuda")["gpu"] is None


def test_nbcnns_inputs_lie_on_the_device(task, monkeypatch):
    """The program is asked for once, and gets the same arrays at each call."""
    from nbcnn.bench.engines import own

    calls = []

    class Model:
        def __call__(self, *inputs):
            calls.append(inputs)
            return np.ones(3)

        def seconds(self, *inputs, repeats):
            calls.append(inputs)
            return repeats / 1000

    monkeypatch.setattr(nbcnn, "compile", lambda graph, **options: calls.append(options) or Model())
    monkeypatch.setattr(own, "resident", lambda array: ("on the device", array.shape))
    engine = own.Nbcnn(replace(task, precision="tf32"))
    for batch in (2, 5):
        engine.compile({"image": np.ones((batch, 3, 32, 32), np.float32)})
        engine.run()
    assert engine.device_seconds(7) == 0.007
    options, *inputs = calls
    assert (options["target"], options["precision"]) == ("cuda", "tf32")
    assert [given for (given,) in inputs] == [("on the device", (n, 3, 32, 32)) for n in (2, 5, 5)]
    assert NBCNN.targets == ("cpu", "cuda")


def test_torch_is_captured_once_and_replayed(torch, task, monkeypatch):
    """On doubles of PyTorch's streams, graphs and events: what is asked of them, in order."""
    log = []

    class Stream:
        def wait_stream(self, other):
            log.append("wait")

    class Event:
        made = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            Event.made += 1
            self.at = Event.made**2

        def elapsed_time(self, later):
            return float(later.at - self.at)

    class Graph:
        def replay(self):
            log.append("replay")

    for name, double in {
        "Stream": Stream,
        "current_stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, double)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext(log.append("beside")))
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext(log.append("capture")))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("synchronize"))
    engine = session(task)
    engine.compile({"image": np.ones((1, 3, 32, 32), np.float32)})
    forward = engine._forward
    monkeypatch.setattr(engine, "_forward", lambda: log.append("forward") or forward())
    engine._start, engine._device = engine._captured(), "cuda"
    assert log == ["wait", "beside", *["forward"] * 3, "wait", "capture", "forward"]
    log.clear()
    first, second = engine.run(), engine.run()
    assert first is second
    assert log == ["replay", "synchronize"] * 2
    log.clear()
    assert engine.device_seconds(4) == pytest.approx(6e-3)  # of 3, 5, 7 and 9 ms
    assert log == ["replay"] * 5 + ["synchronize"]
