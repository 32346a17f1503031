"""How many threads, and Numba's thread team used without disturbing the host program."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nbcnn.errors import NbcnnError

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_region = threading.Lock()
_forked = False


def default_threads() -> int:
    """Threads to use unless told: the least of CPUs, CPU affinity and container quota."""
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    quota = _quota()
    if quota:
        counts.append(math.ceil(quota))
    return max(1, min(counts))


@contextmanager
def team(parts: int) -> Iterator[None]:
    """Hold Numba's team with ``parts`` threads (fewer where the machine has fewer).

    One caller at a time: Numba's ``workqueue`` layer aborts on concurrent use, and two teams on
    the same cores only fight. The calling thread's own thread count is put back afterwards.
    Raises NbcnnError after a fork, or where no threading layer loads.
    """
    if _forked:
        raise NbcnnError(
            "this process was forked after its thread team had started, which OpenMP does not "
            "survive: start it with 'spawn' or 'forkserver', or use threads=1"
        )
    import numba

    with _region:
        try:
            before = numba.get_num_threads()
        except (ImportError, ValueError) as error:
            raise NbcnnError(
                f"no threading layer of Numba loads ({error}); install tbb, or use threads=1"
            ) from error
        numba.set_num_threads(min(parts, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def _after_fork() -> None:
    """In the child. TBB and workqueue restart by themselves; OpenMP would end the process."""
    global _region, _forked
    _region = threading.Lock()  # its holder, if any, lives on in the parent only
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    _forked = _forked or getattr(parallel, "_threading_layer", None) == "omp"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _quota() -> float | None:
    """CPUs the container may use, or None without a limit: cgroup v2's files, else v1's."""
    limits = []
    for mount, folder in _cgroups():
        for level in (folder, *folder.parents):  # every ancestor's limit holds too
            if level.is_relative_to(mount):
                limits.append(_limit(level))
    return min((limit for limit in limits if limit), default=None)


def _cgroups() -> Iterator[tuple[Path, Path]]:
    """Mount point and own folder per hierarchy that may limit CPU time."""
    yield _CGROUP, _CGROUP
    yield _CGROUP / "cpu", _CGROUP / "cpu"
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield _CGROUP, _CGROUP / path.lstrip("/")
        elif "cpu" in controllers.split(","):
            yield _CGROUP / "cpu", _CGROUP / "cpu" / path.lstrip("/")


def _limit(folder: Path) -> float | None:
    with suppress(OSError, ValueError):  # absent, or "max"
        allowed, period = (folder / "cpu.max").read_text().split()
        return int(allowed) / int(period)
    with suppress(OSError, ValueError):
        allowed = int((folder / "cpu.cfs_quota_us").read_text())
        return allowed / int((folder / "cpu.cfs_period_us").read_text()) if allowed > 0 else None
    return None
