from __future__ import annotations

import multiprocessing
import sys
import threading
import time

import numpy as np
import pytest

from nbcnn.errors import NbcnnError
from nbcnn.runtime import codecache, driver, threads
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
    numba.set_num_threads(1)
    driver.run(steps, 2)
    assert numba.get_num_threads() == 1
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


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


def _in_child(steps, queue):
    try:
        driver.run(steps, 1)
        driver.run(steps, 2)
        queue.put("ran")
    except NbcnnError as error:
        queue.put(str(error))


@pytest.mark.skipif(sys.platform != "linux", reason="fork after OpenMP")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_after_parallel_run_is_explained(table):
    import numba

    steps, _ = table("count", 1, step=1)
    driver.run(steps, 2)
    if numba.threading_layer() != "omp":
        pytest.skip("only OpenMP does not survive a fork")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(steps, queue))
    child.start()
    assert "spawn" in queue.get(timeout=20)
    child.join()


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threading_layers(tiny, python, layer):
    text = (
        "import numpy as np\n"
        "from nbcnn.runtime import driver\n"
        "driver.run(np.empty((0, 2), np.int64), 2)\n"
        "import numba; print(numba.threading_layer())"
    )
    assert python(text, NUMBA_THREADING_LAYER=layer) == layer


def test_missing_threading_layer_is_explained(tiny, python):
    text = (
        "import numpy as np\n"
        "from nbcnn.runtime import driver\n"
        "try: driver.run(np.empty((0, 2), np.int64), 2)\n"
        "except Exception as e: print(type(e).__name__, 'threads=1' in str(e))"
    )
    assert python(text, NUMBA_THREADING_LAYER="nonsense") == "NbcnnError True"


def test_serial_walk_imports_no_numba(tiny, python):
    text = (
        "import sys, numpy as np\n"
        "from nbcnn.runtime import driver\n"
        "driver.run(np.empty((0, 2), np.int64), 1)\n"
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
