"""PyTorch and CuPy beside nbcnn on a GPU: arrays go both ways without a copy, the bench's engines agree."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

import nbcnn
from nbcnn.bench import Job
from nbcnn.bench.engines.own import Nbcnn
from nbcnn.bench.judge import TOLERANCE, relative_error
from nbcnn.bench.prepare import draw, prepare
from nbcnn.errors import InputError
from nbcnn.runtime.cuda.arrays import DeviceArray
from nbcnn.runtime.cuda.launcher import simulated

torch = pytest.importorskip("torch")
if simulated() or not torch.cuda.is_available():
    pytest.skip("PyTorch sees no GPU", allow_module_level=True)

SHAPE = (4, 1, 28, 28)


def same(got, want):
    """Sums may be split over blocks, whose order is anyone's guess."""
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def graph():
    return nbcnn.load("lenet5")


@pytest.fixture(scope="module")
def model(graph):
    return nbcnn.compile(graph, target="cuda")


@pytest.fixture
def x():
    return np.random.default_rng(4).standard_normal(SHAPE, np.float32)


def test_a_tensor_in_and_a_tensor_out(model, x):
    want = model(x)
    given = torch.from_numpy(x).cuda()
    got = model(given)
    assert isinstance(got, DeviceArray)
    tensor = torch.from_dlpack(got)
    assert tensor.is_cuda and tensor.data_ptr() == got.address
    assert torch.as_tensor(got, device="cuda").data_ptr() == got.address
    same(tensor.cpu().numpy(), want)
    same(got.numpy(), want)
    same(np.from_dlpack(got, device="cpu"), want)
    same(model(DeviceArray.of(model._program.launcher, x)).numpy(), want)


def test_a_tensor_that_is_not_there_yet_is_waited_for(model, x):
    """The input is copied on a stream that sleeps first; the consumer reads on a stream of its own."""
    want, source = model(x), torch.from_numpy(x).cuda()
    given = torch.zeros(SHAPE, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        given.copy_(source)
        got = model(given)
    with torch.cuda.stream(torch.cuda.Stream()):
        same(torch.from_dlpack(got).cpu().numpy(), want)


def test_what_is_lent_lives_as_long_as_its_users(model, x):
    want = model(x)
    tensor = torch.from_dlpack(model(torch.from_numpy(x).cuda()))
    for _ in range(20):
        model(torch.randn(SHAPE, device="cuda"))
        gc.collect()
    same(tensor.cpu().numpy(), want)


def test_no_memory_is_lost(model):
    given = torch.randn(256, *SHAPE[1:], device="cuda")
    model(given)
    free = torch.cuda.mem_get_info()[0]
    for _ in range(300):
        torch.from_dlpack(model(given))
    assert free - torch.cuda.mem_get_info()[0] < 1 << 24


def test_tensors_that_cannot_be_taken_are_refused(model):
    given = torch.randn(2, *SHAPE[1:], device="cuda")
    refused = {
        "should be in C order.*call .contiguous()": torch.randn(2, 1, 28, 56, device="cuda")[..., ::2],
        "detach": given.clone().requires_grad_(),
        "got dtype float16": given.half(),
        "its elements are bfloat16": given.bfloat16(),
        "got shape": given[:, :, :5],
    }
    for message, tensor in refused.items():
        with pytest.raises(InputError, match=rf"input 'image'.*{message}"):
            model(tensor if message != "got shape" else tensor.contiguous())


def test_cupy_goes_both_ways(model, x):
    cupy = pytest.importorskip("cupy")
    want = model(x)
    with cupy.cuda.Stream(non_blocking=True):
        given = cupy.asarray(x)
        got = model(given)
        for array in (cupy.from_dlpack(got), cupy.asarray(got)):
            assert array.data.ptr == got.address
            same(array.get(), want)
    with pytest.raises(InputError, match="should be in C order"):
        model(cupy.asarray(np.concatenate([x, x], axis=3))[..., ::2])


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16", "bfloat16"])
def test_the_engines_of_the_bench_agree(tmp_path, precision, compiled):
    from nbcnn.bench.engines.torch_cuda import TorchCuda

    task = replace(prepare(Job("cifar_cnn", target="cuda"), tmp_path), precision=precision)
    ours, theirs = Nbcnn(task), TorchCuda(task, compiled=compiled)
    for batch in (1, 8):
        inputs = draw(nbcnn.load(str(task.yaml)).inputs, batch)
        answers = []
        for engine in (ours, theirs):
            engine.compile(inputs)
            first = engine.read(engine.run())
            again = relative_error(first, engine.read(engine.run()))
            assert again is not None and again < TOLERANCE[precision]
            assert 1e-6 < engine.device_seconds(10) < 1
            answers.append(first)
        error = relative_error(*answers)
        assert error is not None and error < TOLERANCE[precision]
