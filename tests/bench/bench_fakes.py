"""Engines for tests: they sleep a known time, log when they run, and fail on request."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from nbcnn.bench.flow import in_threads


class Sleeper:
    """Sleeps ``seconds`` a call, returns its input times ``scale``, appends calls to ``log``."""

    version, precision, note = "1.0", "float32", "asleep mostly"

    def __init__(self, task, seconds=0.002, scale=1.0, log=None, fail=""):
        self.task, self.seconds, self.scale = task, seconds, scale
        self.log, self.fail, self.calls = log, fail, 0
        if fail == "load":
            raise ValueError("cannot read the model\nwith a second line")

    def compile(self, inputs):
        os.write(1, b"chatter on stdout that must not reach the answers\n")
        self.inputs = inputs

    def run(self):
        self.calls += 1
        if self.fail == "late" and self.calls > 5:
            os.write(2, b"last words\n")
            os._exit(3)
        start = time.monotonic_ns()
        time.sleep(self.seconds)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()} {start} {time.monotonic_ns()}\n")
        return [x * np.float32(self.scale) for x in self.inputs.values()]

    def read(self, result):
        return {f"y{i}": y for i, y in enumerate(result)}

    def profile(self):
        return [{"kernel": "sleep", "ms": np.float64(1e3 * self.seconds), "share": 1.0}]


class Streaming(Sleeper):
    """Sleeps in as many threads as the task has streams."""

    def flow(self, seconds):
        return in_threads(self.run, self.task.streams, seconds)


class Environment(Sleeper):
    """Its version is what it was told about threads."""

    def compile(self, inputs):
        super().compile(inputs)
        self.version = f"{os.environ['OMP_NUM_THREADS']}/{os.environ['NUMBA_NUM_THREADS']}"


class OnDevice(Sleeper):
    """Has a clock of its own."""

    def device_seconds(self, repeats=20):
        return 0.0015 * self.scale
