"""Tuning: kernels and their variants are timed once; what wins clearly is taken; all of them are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conformance import excesses, inputs_of
from strategies import Builder

import nbcnn
from nbcnn.errors import OptionError
from nbcnn.ir import Graph
from nbcnn.kernels.base import Kernel, Site
from nbcnn.kernels.cpu import kernels
from nbcnn.lower import trial
from nbcnn.lower.model import Model
from nbcnn.lower.select import Contest, Offer, contests
from nbcnn.lower.stopwatch import Times
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import MaxPool
from nbcnn.ops.reshape import Flatten
from nbcnn.options import CompileOptions
from nbcnn.target import detect

Sites = list[tuple[Site, tuple[Kernel, ...]]]


@pytest.fixture
def said(monkeypatch, cache) -> Callable[[Callable[[Kernel], float]], list[Sites]]:
    """Has kernels take as long as a function says; returns the rounds of trials, as they happen."""

    def set_times(seconds: Callable[[Kernel], float]) -> list[Sites]:
        rounds: list[Sites] = []

        def timed(sites: Sites, *_: Any) -> list[list[Times]]:
            rounds.append(sites)
            return [[(seconds(kernel), seconds(kernel)) for kernel in kernels] for _, kernels in sites]

        monkeypatch.setattr(trial, "timed", timed)
        return rounds

    return set_times


def network() -> Graph:
    """A first layer, two equal 1x1 convolutions, a pool, one in groups, one by channel, a dense layer."""
    build = Builder(seed=3)
    x = build("relu0", Relu(), build("stem", Conv2d(32, 3, 2, 1), build.input(3, 19, 19)))
    x = build("relu1", Relu(), build("conv1", Conv2d(32, 1), x))
    x = build("relu2", Relu(), build("conv2", Conv2d(32, 1), x))
    x = build("grouped", Conv2d(72, 3, 2, 1, groups=2), build("pool", MaxPool(2, 1), x))
    x = build("silu", Silu(), x)
    x = build("relu3", Relu(), build("depthwise", Conv2d(72, 3, padding=1, groups=72), x))
    return build.graph(build("fc", Dense(64), build("flat", Flatten(), x)))


def compiled(graph: Graph, **options: Any) -> Model:
    options = {"tune": True, "threads": 1} | options
    return nbcnn.compile(graph, passes="fuse-activation", **options)


def chosen(model: Model) -> dict[str, str]:
    return {c.site.name: c.kernel.title for c in model.choices}


def rivals(graph: Graph) -> dict[str, Contest]:
    options = CompileOptions(threads=1)
    return {c.site.name: c for c in contests(graph, kernels(), detect(), options)}


# -- what is timed ---------------------------------------------------------------------------------


def test_every_kernel_and_its_variants(said) -> None:
    rounds = said(lambda kernel: 1e-5)
    compiled(network())
    (sites,) = rounds
    tried = {site.name: [k.title for k in found] for site, found in sites}
    assert {*tried} == {"relu0", "relu1", "relu2", "silu", "relu3", "fc"}
    assert next(title for title in tried["relu3"] if "[" in title) == "depthwise[block 7]"
    assert tried["relu1"][0] == "igemm" and "igemm[7x2, order 1]" not in tried["relu1"]
    assert sum(title.startswith("igemm[") for title in tried["relu1"]) > 2
    assert sum(title.startswith("igemm_halo[") for title in tried["relu0"]) > 2
    assert tried["fc"][0] == "dense" and len(tried["fc"]) > 1


def test_equal_sites_are_timed_once_but_run_in_their_places(said) -> None:
    rounds = said(lambda kernel: 1e-5)
    model = compiled(network())
    (sites,) = rounds
    counts = {site.name: len(found) for site, found in sites}
    assert counts["relu1"] > 1 and counts["relu2"] == 1
    found = {c.site.name: c for c in model.choices}
    assert found["relu2"].measured and found["relu2"].candidates == found["relu1"].candidates


def test_untuned_nothing_is_timed(said, cache) -> None:
    rounds = said(lambda kernel: 1e-5)
    assert all("[" not in title for title in chosen(compiled(network(), tune=False)).values())
    assert not rounds and not cache


@pytest.mark.parametrize("behind, tried", [(1.4, True), (1.6, False)])
def test_variants_of_kernels_far_behind_are_not_tried(behind: float, tried: bool) -> None:
    build = Builder()
    contest = rivals(build.graph(build("conv", Conv2d(32, 3, padding=1), build.input(32, 12, 12))))["conv"]
    best = Offer(next(o.kernel for o in contest.offers if o.kernel.name == "winograd4"), 1e-5)
    other = Offer(next(o.kernel for o in contest.offers if o.kernel.name == "igemm"), behind * 1e-5)
    found = trial._rivals([Contest(contest.site, (best, other), ())], detect(), True)[0]
    assert [k.title for k in found[:2]] == ["winograd4", "igemm"]
    assert any(k.name == "igemm" and k.variant for k in found) == tried


def test_weights_that_stream_from_memory_have_one_tile() -> None:
    """Any tile reads them as fast, and packing them for each would fill the memory."""
    build = Builder()
    contest = rivals(build.graph(build("fc", Dense(4096), build.input(3000))))["fc"]
    (dense,) = [o.kernel for o in contest.offers]
    target = detect()
    assert dense.variants(contest.site, replace(target, l3=4 * contest.site.macs)) != ()
    assert dense.variants(contest.site, replace(target, l3=4 * contest.site.macs - 1)) == ()


# -- what is remembered ----------------------------------------------------------------------------


def test_a_second_compile_times_nothing(said, cache) -> None:
    rounds = said(lambda kernel: 1e-6 if kernel.variant == "10x2" else 1e-5)
    first = compiled(network())
    kept = len(cache)
    second = compiled(network())
    assert len(rounds) == 1 and len(cache) == kept
    assert chosen(first) == chosen(second)
    assert [c.candidates for c in first.choices] == [c.candidates for c in second.choices]


def test_another_network_reads_the_times_of_its_equal_sites(said) -> None:
    rounds = said(lambda kernel: 1e-5)
    compiled(network())
    build = Builder(seed=9)
    x = build("another.relu", Relu(), build("another", Conv2d(32, 1), build.input(32, 10, 10)))
    compiled(build.graph(x))
    assert len(rounds) == 1
    y = build("more.relu", Relu(), build("more", Conv2d(48, 1), x))
    compiled(build.graph(y))
    assert len(rounds) == 2
    assert {site.name: len(found) > 1 for site, found in rounds[1]} == {
        "another.relu": False,
        "more.relu": True,
    }


@pytest.mark.parametrize("change", ["threads", "machine"])
def test_other_threads_or_machines_are_timed_anew(change: str, said, monkeypatch) -> None:
    rounds = said(lambda kernel: 1e-5)
    compiled(network())
    monkeypatch.setattr(trial.platform, "node", lambda: "other") if change == "machine" else None
    compiled(network(), threads=2 if change == "threads" else 1)
    assert len(rounds) == 2


# -- who wins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain, winner", [(0.019, "igemm"), (0.021, "igemm[10x2]")])
def test_noise_changes_nothing(gain: float, winner: str, said) -> None:
    said(lambda kernel: 1e-5 * (1 - gain) if kernel.variant == "10x2" else 1e-5)
    model = compiled(network())
    assert chosen(model)["relu1"] == winner
    lost = {c.kernel: c for c in next(c for c in model.choices if c.site.name == "relu1").candidates}
    assert lost["igemm" if "[" in winner else "igemm[10x2]"].measured


@pytest.mark.parametrize("other, winner", [(0.99e-5, "igemm"), (0.9e-5, "igemm[10x2]")])
def test_it_must_be_faster_wherever_its_results_lie(other: float, winner: str, cache, monkeypatch) -> None:
    def timed(sites: Sites, *_: Any) -> list[list[Times]]:
        times = {"10x2": (0.5e-5, other)}
        return [[times.get(kernel.variant, (1e-5, 1e-5)) for kernel in kernels] for _, kernels in sites]

    monkeypatch.setattr(trial, "timed", timed)
    assert chosen(compiled(network()))["relu1"] == winner


def test_the_option_is_a_switch() -> None:
    with pytest.raises(OptionError, match="tune must be True or False, got 1"):
        CompileOptions(tune=1)  # type: ignore[arg-type]


def test_real_times(cache) -> None:
    model = compiled(network(), keep_values=True)
    timed = [c for c in model.choices if c.measured]
    assert len(timed) >= 4 and all(0 < c.seconds < 1 for c in timed)
    assert max(excesses(model, inputs_of(model.graph, 1)).values()) <= 1


# -- that all of them are right --------------------------------------------------------------------


def all_variants() -> list[Any]:
    """Of each kernel every fourth, and the others as slow tests."""
    found = []
    for name, contest in rivals(nbcnn.optimize(network(), "fuse-activation")).items():
        for offer in contest.offers:
            for number, variant in enumerate(offer.kernel.variants(contest.site, detect())):
                marks = [pytest.mark.slow] if number % 4 else []
                found.append(pytest.param(name, variant, marks=marks, id=f"{name}-{variant.title}"))
    return found


@pytest.mark.parametrize("name, variant", all_variants())
def test_every_variant_is_right(name: str, variant: Kernel, said, monkeypatch) -> None:
    monkeypatch.setattr(trial, "HOPELESS", 1e9)
    monkeypatch.setattr(trial, "WORTH_VARYING", 1e9)
    said(lambda kernel: 1e-6 if kernel == variant else 1e-5)
    model = compiled(network(), keep_values=True)
    assert chosen(model)[name] == variant.title
    for batch in (1, 3):
        worst = excesses(model, inputs_of(model.graph, batch))
        assert max(worst.values()) <= 1, worst
