"""The steps of a plan as rows of a report: one for each node that a step computes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from nbcnn.kernels.steps import AnyStep, DeviceStep, PythonStep, Step, StripStep
from nbcnn.runtime import driver
from nbcnn.runtime.program import ROW, Context


@dataclass(frozen=True)
class Row:
    """A node, or a conversion for it, in step ``index``, and its work there.

    ``strips`` says with which nodes it is computed a few rows at a time, or is empty.
    """

    index: int
    node: str
    kernel: str
    computes: bool
    macs: int
    nbytes: int
    strips: str = ""


def rows_of(steps: tuple[AnyStep, ...]) -> list[Row]:
    """The rows of all steps, in order."""
    found: list[Row] = []
    for index, step in enumerate(steps):
        if isinstance(step, PythonStep):
            found.append(Row(index, step.site, "reference", not step.conversion, 0, 0))
        elif isinstance(step, Step | DeviceStep):
            work = step.kernel.name, not step.conversion, step.macs, step.nbytes
            found.append(Row(index, step.site, *work))
        else:
            found += _strips(index, step)
    return found


def _strips(index: int, step: StripStep) -> Iterator[Row]:
    for site in step.sites:
        calls = [
            (s, run.last - run.first)
            for runs in step.runs
            for run in runs
            for s in run.steps
            if s.site == site
        ]
        kernel = next(s.kernel.name for s, _ in calls if not s.conversion)
        macs, nbytes = sum(s.macs * n for s, n in calls), sum(s.nbytes * n for s, n in calls)
        others = ", ".join(name for name in step.sites if name != site)
        yield Row(index, site, kernel, True, macs, nbytes, f"{step.rows} rows at a time with {others}")


def shares(steps: tuple[AnyStep, ...], context: Context, repeats: int) -> dict[tuple[int, str], float]:
    """What part of the time of its step each node takes, by the least times of their calls on one thread."""
    row = sum(not isinstance(step, PythonStep) for step in steps)
    found: dict[tuple[int, str], float] = {}
    for index, step in enumerate(steps):
        if not isinstance(step, StripStep):
            continue
        seconds: Counter[str] = Counter()
        for call in step.steps:
            address, least = context.table_address + ROW * row, float("inf")
            for _ in range(repeats):
                start = time.perf_counter()
                driver.walk(address, 1, 1)
                least = min(least, time.perf_counter() - start)
            seconds[call.site] += least  # type: ignore[assignment]
            row += 1
        found |= {(index, site): seconds[site] / seconds.total() for site in step.sites}
    return found
