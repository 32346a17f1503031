"""One network in one precision, batch after batch: what ``gpu.py`` runs in a process of its own.

A fault on the GPU ends a process, so each network and precision has one. Its argument is a `Request` as JSON;
it prints a line of JSON for each batch as soon as that is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import nbcnn
from nbcnn.bench import flow
from nbcnn.bench.engines import NBCNN, Engine, Session, Task, select
from nbcnn.bench.engines.own import Nbcnn
from nbcnn.bench.judge import relative_error
from nbcnn.bench.prepare import draw
from nbcnn.bench.worker import one_line

BANDWIDTH = 4.3e12
"""Bytes a second: a copy from device to device on an H200, reads and writes counted."""
PEAK = {"float16": 788e12, "bfloat16": 788e12, "tf32": 394e12, "3xtf32": 131e12, "float32": 67e12}
"""FLOP a second on an H200: of a large product of matrices in bfloat16, its half and sixth; the vendor's."""

ROUNDS = 5
"""The engines take turns so often; a ratio is the median over the rounds."""
SLICE_S = 0.06
"""Of an engine, by each clock, in a round."""
REPEATS = (3, 200)
"""At least and at most so many inferences by the device's clock in a round."""


@dataclass(frozen=True)
class Request:
    """``folder`` is what `nbcnn.bench.prepare.prepare` wrote; ``against`` names engines of the bench.

    ``layers`` are the batches whose steps are timed one by one.
    """

    folder: str
    precision: str
    batches: list[int]
    against: list[str]
    layers: list[int]
    tune: bool | None = None


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # engines print, too
    request = Request(**json.loads(sys.argv[1]))
    task = Task(request.folder, target="cuda", precision=request.precision, tune=request.tune)
    sessions, failed = opened([NBCNN, *select(request.against, "cuda")], task)
    types = nbcnn.load(str(task.yaml)).inputs
    for batch in request.batches:
        row = measured(sessions, draw(types, batch))
        if row["engines"]:
            ours: Any = sessions[NBCNN.name]
            row |= work(ours, batch, request.precision, batch in request.layers)
        row["failed"] = failed | row["failed"]
        answers.write(json.dumps({"batch": batch, **row}) + "\n")
        answers.flush()


def opened(engines: list[Engine], task: Task) -> tuple[dict[str, Session], dict[str, str]]:
    """The sessions by name, and why others could not be had. Without nbcnn there is nothing to measure."""
    found: dict[str, Session] = {}
    failed: dict[str, str] = {}
    for engine in engines:
        module, _, name = engine.factory.partition(":")
        try:
            found[engine.name] = getattr(import_module(module), name)(task, **engine.options)
        except Exception as error:
            if engine is NBCNN:
                raise
            failed[engine.name] = one_line(error)
    return found, failed


def measured(sessions: Mapping[str, Session], inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """What each engine needs for ``inputs``, in milliseconds; the first one is what ratios compare with."""
    base = next(iter(sessions))
    engines, failed, answers = {}, {}, {}
    for name, session in sessions.items():
        try:
            start = time.perf_counter()
            session.compile(inputs)
            answers[name] = session.read(session.run())
            engines[name] = {"compile_s": round(time.perf_counter() - start, 2)}
        except Exception as error:
            failed[name] = one_line(error)
    if base in failed:
        return {"engines": {}, "failed": failed}
    rounds = _rounds({name: sessions[name] for name in engines})
    for name, found in engines.items():
        device, wall = rounds[name]
        found |= {"device_ms": 1e3 * statistics.median(device), "wall_ms": 1e3 * statistics.median(wall)}
        if name != base:
            found["error"] = relative_error(answers[base], answers[name])
            found["ratio"] = _quartiles(device, rounds[base][0])
            found["wall_ratio"] = _quartiles(wall, rounds[base][1])
    return {"engines": engines, "failed": failed}


def work(ours: Nbcnn, batch: int, precision: str, layers: bool) -> dict[str, Any]:
    """The floor of the whole network, and its steps one by one if ``layers``."""
    steps = ours.model.explain(batch)
    floors = [floor(step.macs, step.nbytes, precision) for step in steps]
    found: dict[str, Any] = {"floor_ms": 1e3 * sum(floors), "layers": []}
    if layers:
        for step, row, least in zip(steps, ours.profile(), floors, strict=True):
            times = {"us": 1e6 * row["seconds"], "floor_us": 1e6 * least}
            rates = {"gflops": row["gflops"], "gbytes": row["gbytes"]}
            found["layers"].append({"node": step.node, "kernel": step.kernel, **times, **rates})
    return found


def floor(macs: int, nbytes: int, precision: str) -> float:
    """The least seconds for so much work."""
    return max(2 * macs / PEAK[precision], nbytes / BANDWIDTH)


def _rounds(sessions: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds by the device's clock and by the host's, of each round."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sessions}
    repeats = {}
    for name, session in sessions.items():
        once = statistics.median(flow.alone(session.run, 0).latencies) / 1e9
        repeats[name] = min(max(int(SLICE_S / once), REPEATS[0]), REPEATS[1])
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            device, wall = found[name]
            device.append(session.device_seconds(repeats[name]))
            wall.append(flow.alone(session.run, SLICE_S).period / 1e9)
    return found


def _quartiles(theirs: list[float], ours: list[float]) -> list[float]:
    """Median, first and third quartile of the ratios round by round: above 1 the first engine is faster."""
    ratios = np.divide(theirs, ours)
    return [round(float(q), 4) for q in np.percentile(ratios, [50, 25, 75])]


if __name__ == "__main__":
    main()
