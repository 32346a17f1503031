"""What a call and a step cost beside their work: chains of ReLUs on 512 numbers, called from Python.

    python benchmarks/overhead.py [--time 20]

Writes ``results/overhead.md`` and ``results/overhead.json`` beside this file. All chains are called in turn,
block after block, for ``--time`` seconds: the least median of a block counts, so that other work on the
machine does not. A step's cost is the slope from the shortest chain to the longest; its 512 numbers take
some 10 ns of it. Goals: 10 us for a call of one ReLU on one thread; 1 us for a step on one thread and 2.5 us
on two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nbcnn
from nbcnn.bench import markdown
from nbcnn.bench.machine import describe, summary

RESULTS = Path(__file__).parent / "results"
LENGTHS: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
THREADS = (1, 2)
CALL_US = 10.0
STEP_US = {1: 1.0, 2: 2.5}
CALLS = 300
"""In a block, one or two milliseconds: a neighbour spoils few of them."""


def chain(length: int) -> nbcnn.Graph:
    """``length`` ReLUs, one after the other, on [N, 8, 8, 8]."""
    nodes = "".join(f"  - {{name: relu{i}, op: relu}}\n" for i in range(length))
    head = "format: 1\nname: chain\ninputs: {x: [N, 8, 8, 8]}\nnodes:\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.yaml")
        path.write_text(f"{head}{nodes}outputs: [relu{length - 1}]\n")
        return nbcnn.load(path)


def block(model: nbcnn.Model, x: np.ndarray) -> float:
    """The median microseconds of a call."""
    clock, times = time.perf_counter_ns, []
    for _ in range(CALLS):
        start = clock()
        model(x)
        times.append(clock() - start)
    return 1e-3 * statistics.median(times)


def measure(threads: int, seconds: float) -> dict[str, Any]:
    """Microseconds of a call by the length of the chain, and of a step."""
    models = {n: nbcnn.compile(chain(n), passes="none", threads=threads) for n in LENGTHS}
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 8), np.float32)
    best = dict.fromkeys(LENGTHS, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for n, model in models.items():
            best[n] = min(best[n], block(model, x))
    step = (best[LENGTHS[-1]] - best[LENGTHS[0]]) / (LENGTHS[-1] - LENGTHS[0])
    return {"threads": threads, "call_us": {str(n): us for n, us in best.items()}, "step_us": step}


def missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each goal that was not reached."""
    lines = []
    for row in rows:
        threads, step = row["threads"], row["step_us"]
        if step > STEP_US[threads]:
            lines.append(f"a step costs {step:.2f} us on {threads} threads, more than {STEP_US[threads]:g}")
    call = rows[0]["call_us"]["1"]
    return lines + [f"a call costs {call:.1f} us, more than {CALL_US:g}"] * (call > CALL_US)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A row for each number of threads."""
    head = ["threads", *(f"{n} steps" for n in LENGTHS), "a further step"]
    cells = [
        [str(row["threads"]), *(f"{us:.1f}" for us in row["call_us"].values()), f"{row['step_us']:.3f}"]
        for row in rows
    ]
    return "\n".join(markdown.table(head, cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--time", type=float, default=20, help="seconds, for all")
    seconds = parser.parse_args().time / len(THREADS)
    rows = [measure(threads, seconds) for threads in THREADS]
    machine = describe()
    text = (
        f"# What a call and a step cost\n\n{summary(machine)}\n\nMicroseconds of a call of 1 to 50 ReLUs on "
        "512 numbers, Python included, and of a further step. Made by `benchmarks/overhead.py`.\n\n"
        f"{table(rows)}\n"
    )
    report = {"machine": machine, "rows": rows}
    (RESULTS / "overhead.md").write_text(text)
    (RESULTS / "overhead.json").write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write("\n".join([text, *missed(rows)]) + "\n")
    raise SystemExit(bool(missed(rows)))


if __name__ == "__main__":
    main()
