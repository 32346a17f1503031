"""Benchmarks against other engines: ``run(Job("resnet50"))`` measures, ``report.show`` prints.

``engines`` knows how each engine runs a model, ``measure`` runs them in turn in processes of their
own, ``judge`` makes ratios and warnings of the timings, ``report`` prints them or writes JSON.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nbcnn.bench.job import AGAINST, Job
from nbcnn.errors import NbcnnError

if TYPE_CHECKING:
    from nbcnn.bench.report import Result

__all__ = ["Job", "run"]


def run(job: Job) -> Result:
    """Measure ``job.model`` in nbcnn and in every engine of ``job.against`` that is installed.

    An engine that is not installed is listed in ``missing``, one that fails in ``failed``;
    NbcnnError when the model cannot be loaded, when an engine is unknown, when nbcnn itself fails.
    """
    # Here and not above: the workers import this package, and their memory is measured.
    from nbcnn.bench import engines, judge, machine, measure, prepare, remote, report

    names = AGAINST[job.target] if job.against is None else job.against
    wanted = engines.select(names, job.target)
    peers = [engine for engine in wanted if engine.installed]
    missing = {
        name: engine.extra
        for name in names
        for engine in engines.select([name], job.target)
        if not engine.installed
    }
    with tempfile.TemporaryDirectory(prefix="nbcnn-bench-") as folder:
        task = prepare.prepare(job, Path(folder), onnx=bool(peers))
        try:
            found = measure.measure(
                [engines.NBCNN, *peers],
                task,
                seconds=job.time,
                warmup=job.warmup,
                profile=job.profile,
                progress=job.progress,
            )
        except remote.EngineFailed as error:
            raise NbcnnError(f"nbcnn could not run '{job.model}': {error}") from error
    rows, warnings = judge.judge(found, job.batch)
    if (threads := job.streams * job.threads) > machine.usable_cores():
        warnings.append(f"{threads} threads on {machine.usable_cores()} usable cores")
    return report.Result(
        model=job.model,
        batch=job.batch,
        threads=job.threads,
        streams=job.streams,
        target=job.target,
        precision=job.precision,
        passes=job.passes,
        machine=machine.describe(job.target),
        rows=rows,
        missing=[{"name": name, "extra": extra} for name, extra in missing.items()],
        failed=found.failed,
        warnings=warnings,
        profile=found.profile,
    )
