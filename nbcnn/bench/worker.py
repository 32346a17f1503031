"""One engine in a process of its own: ``python -m nbcnn.bench.worker``.

A request is a line of JSON on stdin, ``{"do": "block", ...}``; the answer is a line of JSON on
stdout, ``{"ok": {...}}`` or ``{"error": "one line"}``. Between requests the process sleeps in a
blocking read, and it answers only when its thread pool is asleep too.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.bench import flow
from nbcnn.bench.engines import Session, Task


class Worker:
    """The requests, one method each; each returns what goes into the answer."""

    def open(self, task: dict[str, Any], factory: str, options: dict[str, Any]) -> dict[str, Any]:
        """Import, read, compile, first answer. ``load_s`` and ``compile_s`` are seconds."""
        self.task = Task(**task)
        with np.load(Path(self.task.folder, "inputs.npz")) as file:
            inputs = {name: file[f"arr_{i}"] for i, name in enumerate(file["names"].tolist())}
        module, _, attribute = factory.partition(":")
        start = time.perf_counter()
        make = getattr(importlib.import_module(module), attribute)
        self.session: Session = make(self.task, **options)
        if self.task.streams > 1 and not hasattr(self.session, "flow"):
            raise RuntimeError("it runs one request at a time, not several streams")
        loaded = time.perf_counter()
        self.session.compile(inputs)
        self.result = self.session.run()
        done = time.perf_counter()
        return {
            "version": self.session.version,
            "precision": self.session.precision,
            "note": getattr(self.session, "note", ""),
            "load_s": loaded - start,
            "compile_s": done - loaded,
        }

    def answer(self, file: str) -> dict[str, Any]:
        """Write the outputs to the npz ``file``, as arr_0, arr_1, ... in the order of ``names``."""
        arrays = self.session.read(self.result)
        del self.result
        np.savez(file, *arrays.values())
        return {"names": list(arrays)}

    def warm(self, calls: int) -> dict[str, Any]:
        for _ in range(calls):
            self.session.run()
        return {}

    def block(self, seconds: float) -> dict[str, Any]:
        """Call for ``seconds``; the fields of a `flow.Flow`."""
        gc.collect()
        gc.disable()
        try:
            if self.task.streams == 1:
                return flow.alone(self.session.run, seconds)._asdict()
            return self.session.flow(seconds)._asdict()  # type: ignore[attr-defined]  # see open
        finally:
            gc.enable()

    def memory(self) -> dict[str, Any]:
        return {"peak_rss_bytes": peak_rss_bytes()}

    def device(self) -> dict[str, Any]:
        """Seconds of an inference by the GPU's clock."""
        return {"seconds": self.session.device_seconds()}  # type: ignore[attr-defined]

    def profile(self) -> dict[str, Any]:
        """The session's profile, where it has one."""
        profile = getattr(self.session, "profile", list)
        return {"rows": json.loads(json.dumps(profile(), default=_plain))}


def settle(limit_s: float = 2.0, slice_s: float = 0.02) -> bool:
    """Wait until this process uses no CPU while it sleeps: its pool has stopped spinning.

    Returns False when it still spins after ``limit_s`` (GNU OpenMP with OMP_WAIT_POLICY=active).
    """
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end:
        wall, used = time.perf_counter(), time.process_time()
        time.sleep(slice_s)
        if time.process_time() - used < 0.05 * (time.perf_counter() - wall):
            return True
    return False


def peak_rss_bytes() -> int:
    """The most memory this process has held, in bytes; 0 where the system does not say."""
    try:  # not ru_maxrss: on Linux it begins with the peak of the parent
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        import psutil

        return int(psutil.Process().memory_info().peak_wset)  # type: ignore[attr-defined]  # on Windows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def one_line(error: BaseException) -> str:
    """``ValueError: what went wrong``, shortened to one line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def main() -> None:
    """Serve requests until stdin closes, which it does when the coordinator ends."""
    # Ctrl-C reaches the whole process group; the coordinator decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Engines print to stdout; keep the real one for answers and send theirs to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"ok": getattr(worker, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": one_line(error)}
        answer["asleep"] = settle()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
