from __future__ import annotations

import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from nbcnn.runtime import codecache, driver, team, threads
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import detect


@pytest.fixture
def table(tiny):
    """Builds a step table of one kernel, with the counters that it works on."""

    def build(kind: str, steps: int, **params: int):
        spec = KernelSpec(f"tinykernels.kernels:make_{kind}", tuple(params.items()), kind)
        counters = np.zeros(16, np.int64)
        row = (codecache.load(spec, detect()), counters.ctypes.data)
        return np.array([row] * steps, np.int64), counters

    return build


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_every_part_of_every_step_runs_once(table, parts):
    steps, counters = table("count", 7, step=2)
    driver.run(steps, parts)
    assert counters.tolist() == [14] * parts + [0] * (16 - parts)


def test_empty_table(table):
    driver.run(np.empty((0, 2), np.int64), 1)
    driver.run(np.empty((0, 2), np.int64), 2)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 2)), np.zeros(4, np.int64), np.zeros((3, 4), np.int64)[:, ::2]]
)
def test_wrong_table_is_refused(wrong):
    with pytest.raises(ValueError, match="step table"):
        driver.run(wrong, 1)


def test_host_thread_count_is_restored(table):
    import numba

    steps, _ = table("count", 1, step=1)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    driver.run(steps, 2)
    assert numba.get_num_threads() == 1
    numba.set_num_threads(before)


def test_concurrent_callers_at_two_parts(table):
    steps, counters = table("count", 50, step=1)
    callers = [threading.Thread(target=driver.run, args=(steps, 2)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert counters[:2].tolist() == [200, 200]


@pytest.mark.parametrize("parts", [1, 2])
def test_gil_is_released(table, parts):
    """Another thread's Python goes on while a walk of about 0.2 s is under way."""
    steps, _ = table("delay", 100, loops=1_000_000)
    driver.run(steps[:1], parts)
    walk = threading.Thread(target=driver.run, args=(steps, parts))
    start = time.perf_counter()
    walk.start()
    ticks = 0
    while walk.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert time.perf_counter() - start > 0.05
    assert ticks > 10


def _in_child(steps, counters, queue):
    counters[:] = 0
    driver.run(steps, 1)
    driver.run(steps, 2)
    queue.put(counters[:2].tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_after_parallel_run(table):
    steps, counters = table("count", 5, step=1)
    driver.run(steps, 2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(steps, counters, queue))
    child.start()
    assert queue.get(timeout=20) == [10, 5]
    child.join(timeout=20)
    assert child.exitcode == 0


def test_parts_run_at_the_same_time(table):
    """Each part waits inside its kernel for the other, which one thread alone cannot satisfy."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core, no workers")
    steps, words = table("meet", 1, patience=5_000_000)
    driver.run(steps, 2)
    assert words[8:10].tolist() == [1, 1]


def test_sleeping_workers_wake(table):
    steps, counters = table("count", 3, step=1)
    for _ in range(5):
        driver.run(steps, 2)
        time.sleep(0.02)
    driver.run(steps, 2)
    assert counters[:2].tolist() == [18, 18]


def test_many_runs_of_changing_shape(table):
    """Short runs back to back, so that workers often look at a run that is already over."""
    steps, counters = table("count", 9, step=1)
    expected = np.zeros(16, np.int64)
    for turn in range(3000):
        length, parts = turn % 10, 2 + turn % 5
        driver.run(steps[:length], parts)
        expected[:parts] += length
    assert counters.tolist() == expected.tolist()


def test_process_ends_cleanly_with_workers_running(tiny, python):
    text = (
        "import numpy as np\n"
        "from nbcnn.runtime import driver\n"
        "driver.run(np.empty((0, 2), np.int64), 2); print('done')"
    )
    assert python(text) == "done"


@pytest.mark.parametrize("parts", [1, 2])
def test_walk_imports_no_numba(tiny, python, parts):
    text = (
        "import sys, numpy as np\n"
        "from nbcnn.runtime import driver\n"
        f"driver.run(np.empty((0, 2), np.int64), {parts})\n"
        "print('numba' in sys.modules)"
    )
    python(text)
    assert python(text) == "False"


def test_default_threads_is_sane(monkeypatch):
    assert 1 <= threads.default_threads() <= 4096
    monkeypatch.setattr(threads, "_quota", lambda: 0.5)
    assert threads.default_threads() == 1


@pytest.mark.parametrize(
    "files, cpus",
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_quota(tmp_path, monkeypatch, files, cpus):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own = tmp_path / "self"
    own.write_text("0::/a/b\n")
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr(threads, "_OWN_CGROUPS", own)
    assert threads._quota() == cpus


def test_a_closed_team_has_no_threads_and_starts_anew(table):
    steps, counters = table("count", 3, step=1)
    own = team.Team()
    before = set(threading.enumerate())
    for turn in range(1, 4):
        own.run(steps.ctypes.data, 3, 2)
        time.sleep(0.02 * (turn % 2))  # asleep, or still spinning
        own.close()
        assert set(threading.enumerate()) == before
        assert counters[:2].tolist() == [3 * turn, 3 * turn]


@pytest.mark.parametrize("shared", [False, True])
def test_teams_run_side_by_side(table, shared):
    """The first run waits inside its kernel for the second one to begin; in a shared team it never does."""
    steps, words = table("meet", 1, patience=300_000)
    later = np.array([[steps[0, 0], words.ctypes.data + 8]], np.int64)
    first = team.Team()
    second = first if shared else team.Team()
    run = threading.Thread(target=first.run, args=(steps.ctypes.data, 1, 1))
    run.start()
    while not words[0]:
        time.sleep(0.0001)
    second.run(later.ctypes.data, 1, 1)
    run.join()
    assert words[8] == (not shared)
