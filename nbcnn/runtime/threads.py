"""How many threads this process should use: CPUs, affinity, container quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def default_threads() -> int:
    """Threads to use unless told: the least of CPUs, CPU affinity and container quota."""
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    quota = _quota()
    if quota:
        counts.append(math.ceil(quota))
    return max(1, min(counts))


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
