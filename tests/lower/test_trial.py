"""Kernels that must be tried are timed once on each machine, remembered and explained; layouts stay right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conformance import excesses, inputs_of
from strategies import Builder
from typer.testing import CliRunner

import nbcnn
from nbcnn import reference
from nbcnn.ir import Graph, TensorType
from nbcnn.ir.types import Dim
from nbcnn.ir.weight import Sparsity
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import backend, kernels, sparse
from nbcnn.kernels.cpu.sparse import SparseConv
from nbcnn.kernels.layouts import Address, View
from nbcnn.lower import stopwatch, trial
from nbcnn.lower.model import Model
from nbcnn.lower.select import Contest, Offer, contests
from nbcnn.lower.stopwatch import Times
from nbcnn.ops.activation import Relu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.reshape import Flatten
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache
from nbcnn.target import detect

Sites = list[tuple[Site, tuple[Kernel, ...]]]


@pytest.fixture
def timed(monkeypatch, cache) -> list[list[str]]:
    """The kernels of each round of trials, as they happen, but for those that run for the caches alone."""
    calls: list[list[str]] = []
    real = trial.timed

    def count(sites: Sites, emit: Emit, *rest: Any) -> list[list[Times]]:
        calls.append([kernel.title for _, kernels in sites if len(kernels) > 1 for kernel in kernels])
        return real(sites, emit, *rest)

    monkeypatch.setattr(trial, "timed", count)
    return calls


def times(seconds: Callable[[Kernel], float]) -> Callable[..., list[list[Times]]]:
    """In place of `trial.timed`: what each kernel is said to take."""
    return lambda sites, *_: [[(seconds(k), seconds(k)) for k in kernels] for _, kernels in sites]


def network(density: float = 0.2, size: int = 8, batch: Dim = "N") -> Graph:
    """Two sparse convolutions behind one that is not, and a sparse dense layer."""
    build = Builder(seed=5)
    build.inputs["x"] = build.types["x"] = TensorType((batch, 8, size, size))
    x = build("conv0", Conv2d(12, 3, padding=1), "x")
    x = build("relu", Relu(), build("conv1", Conv2d(20, 3, 2, 1), x))
    x = build("conv2", Conv2d(16, 1), x)
    y = build("fc", Dense(10), build("flat", Flatten(), x))
    for name in ("conv1", "conv2", "fc"):
        weight = build.weights[f"{name}.weight"]
        kept = build.rng.random(weight.array.shape) < density
        build.weights[f"{name}.weight"] = weight.masked(kept).marked(Sparsity(1 - density))
    return build.graph(y)


def compiled(graph: Graph, **options) -> Model:
    """The graph as it is, but for activations in the epilogues of convolutions."""
    return nbcnn.compile(graph, passes="fuse-activation", threads=1, **options)


def contest(graph: Graph, name: str) -> Contest:
    (found,) = [c for c in rivals(graph) if c.site.name == name]
    return found


def rivals(graph: Graph) -> list[Contest]:
    return contests(graph, kernels(), detect(), CompileOptions(threads=1))


# -- what is tried ---------------------------------------------------------------------------------


def test_only_contests_with_a_kernel_on_trial_are_tried(timed) -> None:
    found = trial.measure(rivals(network()), detect(), CompileOptions(threads=1))
    measured = {c.site.name: [x.measured for x in (*c.offers, *c.refused) if x.seconds] for c in found}
    assert {name for name, flags in measured.items() if any(flags)} == {"conv1", "relu", "conv2", "fc"}
    assert all(measured[name].count(True) > 1 for name in ("conv1", "conv2", "fc"))
    assert all(o.measured for c in found for o in c.offers if c.site.name != "conv0" and len(c.offers) > 1)
    (names,) = timed
    assert names.count("sparse") == 2 and names.count("sparse_dense") == 1
    assert {"igemm", "dense"} < {*names}


def test_nothing_is_tried_without_one(timed, cache) -> None:
    build = Builder()
    graph = build.graph(build("conv", Conv2d(8, 3), build.input(4, 8, 8)))
    before = rivals(graph)
    assert trial.measure(before, detect(), CompileOptions(threads=1)) is before
    assert timed == [] and cache == {}


def test_a_kernel_without_rivals_is_not_tried(timed) -> None:
    alone = contest(network(), "conv1")
    alone = replace(alone, offers=tuple(o for o in alone.offers if o.kernel.on_trial))
    assert trial.measure([alone], detect(), CompileOptions(threads=1)) == [alone]
    assert timed == []


@pytest.mark.parametrize("sparse_estimate", [1e-9, 1.0])
def test_hopeless_rivals_are_listed_as_estimated(sparse_estimate: float, timed) -> None:
    """The estimate of a kernel on trial proves nothing, neither for it nor against its rivals."""
    whole = contest(network(), "conv1")
    offers = {o.kernel.name: o for o in whole.offers}
    best, worse = 1e-5, 1.01 * trial.HOPELESS * 1e-5
    priced = (replace(offers["igemm"], seconds=best), replace(offers["sparse"], seconds=sparse_estimate))
    hopeless = Offer(next(k for k in kernels() if k.name == "winograd2"), worse)
    (found,) = trial.measure(
        [replace(whole, offers=(*priced, hopeless), refused=())], detect(), CompileOptions(threads=1)
    )
    assert timed == [["igemm", "sparse"]]
    assert [o.kernel.name for o in found.offers] == ["igemm", "sparse"]
    (listed,) = found.refused
    assert listed.kernel == "winograd2"
    assert (listed.seconds, listed.reason, listed.measured) == (worse, None, False)


# -- what is remembered ----------------------------------------------------------------------------


def test_times_are_remembered(timed, cache) -> None:
    first, second = (compiled(network()) for _ in range(2))
    assert len(timed) == 1 and len(cache) == len({c.site.name for c in first.choices if c.measured}) + 1
    assert [(c.kernel, c.seconds, c.candidates) for c in first.choices] == [
        (c.kernel, c.seconds, c.candidates) for c in second.choices
    ]


def test_nothing_is_run_for_times_that_are_remembered(timed, monkeypatch) -> None:
    compiled(network())
    monkeypatch.setattr(stopwatch.driver, "walk", lambda *args: pytest.fail("a kernel was run"))
    compiled(network())


def test_they_are_kept_on_disk(timed, tmp_path, monkeypatch) -> None:
    monkeypatch.undo()  # of the fixtures: the real cache
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path))
    compiled(network())
    assert len(list(tmp_path.glob("trial-*"))) == 4  # three sites, and the conversions between them
    monkeypatch.setattr(trial, "timed", lambda *_: pytest.fail("kernels were tried again"))
    compiled(network())


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], tuple[Graph, int]]] = {
    "threads": lambda patch: (network(), 2),
    "zeros": lambda patch: (network(density=0.1), 1),
    "shapes": lambda patch: (network(size=10), 1),
    "code": lambda patch: (
        patch.setattr(codecache, "key", lambda spec, target: f"{spec.name} edited") or network(),
        1,
    ),
    "another machine": lambda patch: (patch.setattr(trial.platform, "node", lambda: "other") or network(), 1),
    "how a kernel divides its work": lambda patch: (
        patch.setattr(sparse.Geometry, "chunk", property(lambda self: 2)) or network(),
        1,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_measured_again(change: str, cache, monkeypatch) -> None:
    monkeypatch.setattr(trial, "timed", times(lambda kernel: 1e-5))

    def measure(graph: Graph, threads: int) -> None:
        # But for dense layers, the arguments of steps tell the threads too.
        found = [c for c in rivals(graph) if c.site.name == ("fc" if change == "threads" else "conv1")]
        trial.measure(found, detect(), CompileOptions(threads=threads))

    measure(network(), 1)
    measure(network(), 1)
    assert len(cache) == 1
    measure(*CHANGES[change](monkeypatch))
    assert len(cache) == 2


SPOILED: dict[str, Callable[[list[Any]], bytes]] = {
    "no JSON": lambda times: b"[1e-5, ",
    "no text": lambda times: b"\xff\xfe\x00",
    "empty": lambda times: b"",
    "deep": lambda times: b"[" * 100_000,
    "no list": lambda times: b"1.0",
    "a mapping": lambda times: json.dumps({str(i): t for i, t in enumerate(times)}).encode(),
    "too few": lambda times: json.dumps(times[1:]).encode(),
    "too many": lambda times: json.dumps([*times, times[0]]).encode(),
    "numbers": lambda times: json.dumps([t[0] for t in times]).encode(),
    "one place": lambda times: json.dumps([t[:1] for t in times]).encode(),
    "three places": lambda times: json.dumps([[*t, 1e-5] for t in times]).encode(),
    "NaN": lambda times: json.dumps([[float("nan"), 1e-5], *times[1:]]).encode(),
    "infinite": lambda times: json.dumps([[1e-5, float("inf")], *times[1:]]).encode(),
    "negative": lambda times: json.dumps([[-1e-5, 1e-5], *times[1:]]).encode(),
    "strings": lambda times: json.dumps([[str(x) for x in t] for t in times]).encode(),
    "null": lambda times: json.dumps([None, *times[1:]]).encode(),
    "true": lambda times: json.dumps([[True, True], *times[1:]]).encode(),
}


@pytest.mark.parametrize("how", SPOILED)
def test_damaged_times_are_measured_again(how: str, timed, cache) -> None:
    options = CompileOptions(threads=1)
    one = [contest(network(), "conv1")]
    trial.measure(one, detect(), options)
    ((key, payload),) = cache.items()
    cache[key] = SPOILED[how](json.loads(payload))
    found = trial.measure(one, detect(), options)
    assert len(timed) == 2
    assert all(0 < o.seconds < 1 for c in found for o in c.offers if o.measured)
    assert len(json.loads(cache[key])) == len(timed[0])


# -- what is shown ---------------------------------------------------------------------------------


def test_explain_says_what_was_measured(timed) -> None:
    rows = {row.node: row for row in compiled(network()).explain() if row.op != "layout"}
    assert rows["relu"].measured and rows["fc"].measured and not rows["conv0"].measured
    lost = {c.kernel: c for c in rows["relu"].candidates}
    pair = {"sparse", "igemm"}
    assert pair <= {rows["relu"].family, *lost}
    assert all(lost[name].measured and lost[name].reason is None for name in pair & {*lost})
    assert all(c.seconds is None for c in rows["relu"].candidates if c.reason)
    assert (rows["conv0"].seconds or 0) > 0


def test_the_command_line_shows_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path))
    from nbcnn.cli.app import app

    shown = CliRunner().invoke(
        app, ["explain", "digits", "--passes", "sparse", "--sparsity", "0.9", "--kernels", "--json"]
    )
    assert shown.exit_code == 0, shown.output
    rows = [row for row in json.loads(shown.stdout) if row["measured"]]
    assert rows
    for row in rows:
        assert row["seconds"] > 0 and any(c["measured"] for c in row["candidates"])


# -- that all of it is right, whoever wins ---------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("winner", ["sparse", "igemm"])
def test_either_winner_is_right(winner: str, batch: int, cache, monkeypatch) -> None:
    """Values are read back from whole channels and from pixels, and what is converted between them."""
    monkeypatch.setattr(trial, "timed", times(lambda kernel: 1e-6 if kernel.name == winner else 1e-2))
    model = compiled(network(), keep_values=True)
    taken = {c.site.name: c.kernel.name for c in model.choices}
    assert (taken["relu"], taken["conv2"]) == (winner, winner)
    inputs = inputs_of(model.graph, batch)
    worst = excesses(model, inputs)
    assert max(worst.values()) <= 1, worst
    layouts = {row.node: row.layout for row in model.explain(batch) if row.op != "layout"}
    assert layouts["relu"] == ("planes" if winner == "sparse" else "nhwc")
    assert layouts["fc"] == "nhwc"
    expected = reference.run(model.graph, inputs, np.float64, keep=("relu", "conv0"))
    for name, value in model.tap(**inputs, values=("relu", "conv0")).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_tap_inside_a_fused_node_over_channels(batch: int, cache, monkeypatch) -> None:
    monkeypatch.setattr(SparseConv, "cost", lambda self, site, target: -1.0)
    monkeypatch.setattr(trial, "measure", lambda contests, *_: contests)
    graph = network()
    model = compiled(graph, taps=["conv1"])
    assert "sparse" in {c.kernel.name for c in model.choices if c.site.name == "conv1"}
    inputs = inputs_of(graph, batch)
    expected = reference.run(graph, inputs, np.float64, keep=("conv1",))
    np.testing.assert_allclose(
        model.tap(**inputs, values=["conv1"])["conv1"], expected["conv1"], rtol=1e-4, atol=1e-5
    )


def test_a_batch_that_is_a_number(timed, monkeypatch) -> None:
    """Trials run it whole; buffers hold it."""
    real = stopwatch._views
    batches = []

    def views(site: Site, kernel: Kernel, emit: Emit) -> tuple[tuple[View, ...], tuple[View, ...]]:
        found = real(site, kernel, emit)
        batches.append(emit.batch)
        assert all(v.buffer.nbytes >= 4 * 3 * v.image_stride for view in found for v in view)
        return found

    monkeypatch.setattr(stopwatch, "_views", views)
    graph = network(batch=3)
    model = compiled(graph, keep_values=True)
    assert {*batches} == {3} and len(timed) == 1
    assert max(excesses(model, inputs_of(graph, 3)).values()) <= 1


def test_operands_lie_apart_from_what_is_written() -> None:
    """Trials share one memory: no step of any writes into the operands."""
    target, options = detect(), CompileOptions(threads=1)
    emit = Emit(1, target, options, Store(), backend())
    contests = rivals(network())
    tried = [(contests[i].site, k) for i, ks in trial._rivals(contests, target, False).items() for k in ks]
    groups = [stopwatch.steps_of(site, kernel, emit) for site, kernel in tried]
    offsets, arena = stopwatch.shared_memory(groups)
    operands = max(at + b.nbytes for b, at in offsets.items() if b.purpose == "operand")
    others = [(at, b) for b, at in offsets.items() if b.purpose != "operand"]
    assert all(at >= operands for at, _ in others)
    assert all(at + b.nbytes <= arena for at, b in others)
    ends = [(offsets[s.args[0].buffer] + s.args[0].buffer.nbytes + s.overread) for g in groups for s in g]
    assert max(ends) <= arena
    for group in groups:
        spans = sorted(
            (offsets[b], offsets[b] + b.nbytes)
            for b in {a.buffer for s in group for a in s.args if isinstance(a, Address)}
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
