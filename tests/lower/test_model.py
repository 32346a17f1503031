"""The compiled model: inputs it takes and refuses, many callers at once, memory, explain, profile."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from strategies import Builder

import nbcnn
from nbcnn import reference
from nbcnn.errors import InputError, OptionError
from nbcnn.ir import Graph
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import GlobalAvgPool
from nbcnn.ops.softmax import Softmax
from nbcnn.runtime import codecache, program


@pytest.fixture(scope="module")
def graph() -> Graph:
    build = Builder()
    x = build.input(3, 8, 8)
    a = build("a", Conv2d(16, 3, padding=1), x)
    b = build("b", Conv2d(16, 3, padding=1), x)
    c = build("c", Relu(), build("cat", Concat(), a, b))
    d = build("d", Softmax(axis=1), c)
    return build.graph(d, build("pooled", GlobalAvgPool(), c))


@pytest.fixture(scope="module")
def model(graph: Graph) -> nbcnn.Model:
    return nbcnn.compile(graph, threads=1)


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8), np.float32)


def test_several_outputs_come_by_name(graph, model) -> None:
    x = images(2)
    outputs = model(x)
    expected = reference.run(graph, x, dtype=np.float64)
    assert list(outputs) == ["d", "pooled"]
    for name, value in outputs.items():
        assert value.shape == expected[name].shape
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)


def test_input_by_name_by_array_interface_and_strided(model) -> None:
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return images(1)

    class Capsule:
        def __dlpack__(self, **_):
            return images(1).__dlpack__()

        def __dlpack_device__(self):
            return images(1).__dlpack_device__()

    expected = model(images(1))["d"]
    name = next(iter(model.graph.inputs))
    strided = np.repeat(images(1), 2, axis=3)[..., ::2]
    for result in (model(**{name: images(1)}), model(Wrapped()), model(Capsule()), model(strided)):
        np.testing.assert_array_equal(result["d"], expected)


@pytest.mark.parametrize(
    "value, word",
    [
        (images(1).astype(np.float64), "float64"),
        (images(1)[0], "shape"),
        (images(1)[:, :2], "shape"),
        (images(1)[:0], "shape"),
        ([[1.0]], "list"),
        (None, "NoneType"),
    ],
)
def test_wrong_inputs_are_refused_in_one_line(model, value, word) -> None:
    with pytest.raises(InputError, match=word) as caught:
        model(value)
    assert "\n" not in str(caught.value)


def test_wrong_names_and_counts_are_refused(model) -> None:
    with pytest.raises(InputError, match="missing"):
        model()
    with pytest.raises(InputError, match="takes 1 inputs"):
        model(images(1), images(1))
    with pytest.raises(InputError, match="no input 'imagge'"):
        model(imagge=images(1))


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"threads": True},
        {"threads": 5000},
        {"thread": 2},
        {"precision": "f8"},
        {"precision": None},
        {"winograd": "no"},
        {"target": 5},
    ],
)
def test_wrong_options_are_refused(graph, options) -> None:
    with pytest.raises(OptionError):
        nbcnn.compile(graph, **options)


def test_outputs_belong_to_the_caller(model) -> None:
    first = model(images(1))["d"]
    kept = first.copy()
    model(images(1, seed=1))
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable


@pytest.mark.parametrize("threads", (1, 2))
def test_eight_threads_call_one_model_at_once(graph, threads) -> None:
    model = nbcnn.compile(graph, threads=threads)
    batches = [images(1 + i % 3, seed=i) for i in range(8)]
    expected = [model(x)["d"] for x in batches]
    wrong: list[int] = []

    def call(i: int) -> None:
        for _ in range(50):
            if not np.array_equal(model(batches[i])["d"], expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_planned_batch_does_not_wait_for_plans_in_the_making(model) -> None:
    xs = [images(1), images(2)]
    expected = [model(x)["d"] for x in xs]
    found: list[np.ndarray] = []
    caller = threading.Thread(target=lambda: found.extend(model(x)["d"] for x in xs * 2), daemon=True)
    with program._planning:
        caller.start()
        caller.join(timeout=20)
    for y, want in zip(found, expected * 2, strict=True):
        np.testing.assert_array_equal(y, want)


def test_the_plans_used_last_are_kept(graph) -> None:
    model = nbcnn.compile(graph, threads=1)
    for batch in range(1, program.PLANS + 1):
        model(images(batch))
    model(images(1))
    model(images(program.PLANS + 1))
    assert list(model._program._plans) == [*range(3, program.PLANS + 1), 1, program.PLANS + 1]


def test_concatenation_happens_in_place(model) -> None:
    steps = [row for row in model.explain() if row.op == "concat"]
    assert steps == [], "16 + 16 channels need no copy"


def test_concatenation_of_odd_channels_is_copied() -> None:
    build = Builder()
    x = build.input(3, 8, 8)
    parts = [build(f"p{i}", Conv2d(c, 1), x) for i, c in enumerate((5, 16, 7))]
    graph = build.graph(build("cat", Concat(), *parts))
    model = nbcnn.compile(graph, threads=1)
    expected = reference.run(graph, images(2), dtype=np.float64)["cat"]
    np.testing.assert_allclose(model(images(2)), expected, rtol=1e-4, atol=1e-5)
    assert any(row.op == "concat" for row in model.explain())


def test_memory_is_near_what_is_alive(model) -> None:
    memory = model.memory()
    assert memory.live_peak <= memory.arena
    assert memory.weights > 0
    assert memory.tables > 0


def test_explain_names_the_losers(model) -> None:
    row = next(r for r in model.explain() if r.node == "a")
    reasons = {c.kernel: c.reason for c in row.candidates}
    assert row.family == "igemm_halo"
    assert "not depthwise" in reasons["depthwise"]


def test_profile_covers_every_step(model) -> None:
    rows = model.profile(images(1), repeats=3)
    assert [r.node for r in rows] == [r.node for r in model.explain()]
    assert sum(r.share for r in rows) == pytest.approx(1)


def test_tap_needs_kept_values(model, graph) -> None:
    with pytest.raises(InputError, match="keep_values"):
        model.tap(images(1))
    kept = nbcnn.compile(graph, threads=1, keep_values=True)
    values = kept.tap(images(1))
    expected = reference.run(graph, images(1), dtype=np.float64, keep=["cat"])
    np.testing.assert_allclose(values["cat"], expected["cat"], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="no value 'catt'"):
        kept.tap(images(1), values=["catt"])


def test_other_batch_sizes_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nbcnn.compile(nbcnn.load("cifar_sepconv"), threads=1)
    monkeypatch.setattr(codecache, "_load", lambda spec, target: pytest.fail(f"compiles {spec.name}"))
    x = np.random.default_rng(0).standard_normal((7, 3, 32, 32), np.float32)
    expected = reference.run(model.graph, x, dtype=np.float64)
    for batch in (2, 3, 7):
        np.testing.assert_allclose(
            model(x[:batch]), next(iter(expected.values()))[:batch], rtol=1e-4, atol=1e-5
        )


def test_inputs_agree_on_the_batch_wherever_it_stands() -> None:
    build = Builder()
    x, y = build.input(3, 4, name="x"), build.input(3, 4, name="y")
    model = nbcnn.compile(build.graph(build("sum", Add(), x, y)), threads=1)
    four, two = (np.ones((n, 3, 4), np.float32) for n in (4, 2))
    np.testing.assert_array_equal(model(four, four), four + four)
    with pytest.raises(InputError, match=r"'y'.*got shape \[2, 3, 4\]; beside the other inputs \[4, 3, 4\]"):
        model(four, two)
    with pytest.raises(InputError, match=r"'x'.*got shape"):
        model(np.float32(1).reshape(()), four)


@pytest.mark.parametrize("odd", ["read-only", "elsewhere"])
def test_an_input_that_may_not_be_written(graph, model, odd) -> None:
    x = images(2)
    expected = model(x.copy())["d"]
    if odd == "read-only":
        x.flags.writeable = False
    else:
        x = np.broadcast_to(x[0], (2, 3, 8, 8))
        expected = model(np.array(x))["d"]
    np.testing.assert_array_equal(model(x)["d"], expected)
