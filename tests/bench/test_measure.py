import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from nbcnn.bench.measure import blocks_for, measure
from nbcnn.bench.remote import EngineFailed, Remote


def quick(engines, task, **options):
    return measure(engines, task, seconds=0.1, warmup=1, block_s=0.01, **options)


def test_blocks_are_at_least_five_and_at_least_half_a_second():
    assert blocks_for(0.1) == (5, 0.5)
    assert blocks_for(2.5) == (5, 0.5)
    count, length = blocks_for(4.2)
    assert count == 8
    assert count * length == pytest.approx(4.2)


def test_every_block_of_a_peer_stands_between_two_of_the_base(fake, task):
    found = quick([fake("base"), fake("a"), fake("b")], task)
    order = [block.engine for block in found.timeline]
    assert order == ["base", "a", "base", "b"] * 5 + ["base"]
    assert all(len(block.latencies) >= 3 for block in found.timeline)
    assert min(t for block in found.timeline for t in block.latencies) > 1_900_000  # ns


def test_several_requests_in_flight(fake, task):
    """Two of 4 ms at a time: an answer every 2 ms; an engine that has no flow is left out."""
    task = replace(task, streams=2)
    found = quick([fake("base", "Streaming", seconds=0.004), fake("a", "Streaming"), fake("single")], task)
    ours = [block for block in found.timeline if block.engine == "base"]
    assert min(t for block in ours for t in block.latencies) > 3_900_000
    assert 1_900_000 < min(block.period for block in ours) < 3_500_000
    assert all(len(block.latencies) >= 6 for block in found.timeline)
    assert found.failed == {"single": "RuntimeError: it runs one request at a time, not several streams"}


def test_engines_never_run_at_the_same_time(fake, task, tmp_path):
    log = str(tmp_path / "calls")
    quick([fake("base", log=log), fake("a", log=log), fake("b", log=log)], task)
    calls = sorted(tuple(map(int, line.split())) for line in Path(log).read_text().splitlines())
    assert len({pid for pid, _, _ in calls}) == 3
    by_time = sorted((start, stop) for _, start, stop in calls)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(by_time))


def test_the_base_alone_is_measured_too(fake, task):
    found = quick([fake("base")], task)
    assert [block.engine for block in found.timeline] == ["base"] * 5
    assert found.opened[0].peak_rss_bytes > 1_000_000
    assert found.opened[0].load_s >= 0
    assert found.opened[0].compile_s >= 0.002


def test_a_failing_engine_is_reported_and_the_others_are_measured(fake, task):
    engines = [fake("base"), fake("broken", fail="load"), fake("dies", fail="late"), fake("a")]
    found = quick(engines, task)
    assert [opened.engine.name for opened in found.opened] == ["base", "a"]
    assert found.failed["broken"] == "ValueError: cannot read the model"
    assert found.failed["dies"] == "the process ended with status 3: last words"
    assert {block.engine for block in found.timeline} == {"base", "a"}


def test_when_the_base_fails_the_caller_hears(fake, task):
    with pytest.raises(EngineFailed, match="cannot read the model"):
        quick([fake("base", fail="load"), fake("a")], task)


def test_an_engine_that_hangs_is_stopped(fake, task):
    remote = Remote(fake("slow", seconds=30), task)
    with remote, pytest.raises(EngineFailed, match="no answer in 1 s"):
        remote.open(timeout_s=1)
    assert remote._process.returncode is not None


def test_threads_reach_the_environment_of_the_worker(fake, task):
    assert quick([fake("base", "Environment")], task).opened[0].version == "2/2"


def test_outputs_and_profile_come_back(fake, task):
    found = quick([fake("base"), fake("a", scale=2.0)], task, profile=True)
    base, other = found.opened
    assert (other.outputs["y0"] == 2 * base.outputs["y0"]).all()
    assert found.profile == [{"kernel": "sleep", "ms": pytest.approx(2.0), "share": 1.0}]


def test_progress_counts_to_its_total(fake, task):
    seen = []
    quick([fake("base"), fake("a")], task, progress=lambda *step: seen.append(step))
    done = [d for _, d, _ in seen]
    total = seen[0][2]
    assert done == list(range(total + 1))
    assert {t for _, _, t in seen} == {total}
