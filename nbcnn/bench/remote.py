"""The coordinator's end of a worker process: start it, ask it, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import nbcnn
from nbcnn.bench.engines import Engine, Task

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class EngineFailed(Exception):
    """An engine could not do what it was asked; the message is one line."""


class Remote:
    """An engine in a process of its own. Use it as a context manager: leaving stops the process."""

    def __init__(self, engine: Engine, task: Task) -> None:
        self.engine = engine
        self.asleep = True
        self._task = task
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nbcnn.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(os.environ, task.threads),
            encoding="utf-8",
        )
        self._requests: Any = self._process.stdin  # typed as optional: without pipes they are None
        self._answers: Any = self._process.stdout

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process; harmless when it has ended."""
        self._process.kill()
        self._process.wait()
        for stream in (self._requests, self._answers):
            # a request may still be buffered for a process that has died
            with contextlib.suppress(OSError):
                stream.close()
        self._log.close()

    def open(self, timeout_s: float = 600.0) -> dict[str, Any]:
        """Load, compile, first answer."""
        return self.ask(
            "open",
            timeout_s,
            task=asdict(self._task),
            factory=self.engine.factory,
            options=dict(self.engine.options),
        )

    def ask(self, do: str, timeout_s: float = 600.0, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait, asleep, for its answer; EngineFailed if none comes."""
        late = threading.Event()
        watch = threading.Timer(timeout_s, lambda: (late.set(), self._process.kill()))
        watch.daemon = True
        watch.start()
        try:
            self._requests.write(json.dumps({"do": do, **arguments}) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except OSError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            why = f"gave no answer in {timeout_s:g} s" if late.is_set() else self._last_words()
            raise EngineFailed(why)
        answer = json.loads(line)
        self.asleep = self.asleep and answer["asleep"]
        if "error" in answer:
            raise EngineFailed(answer["error"])
        return answer["ok"]

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"the process ended with status {code}{said}"


def environment(base: Mapping[str, str], threads: int) -> dict[str, str]:
    """``base`` with every pool told the thread count, and nbcnn importable from where it is."""
    env = {**base, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    root = str(Path(nbcnn.__file__).resolve().parents[1])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
    return env
