"""How fast each layer of a network runs, beside the machine's peak.

    python benchmarks/layers.py resnet50 [--passes sparse --sparsity 0.9 --pattern unstructured] [--time 10]

Writes ``results/layers/MODEL[-PATTERN-ZEROS].md`` beside this file. Every step is timed by itself, in the
order of the network, round after round for ``--time`` seconds on one thread; the least time of each counts,
so that other work on the machine does not. Layers run whole here, never some rows at a time together with the
next (strips). FLOPs are those that are done: of the weights that are not zero, and for Winograd's algorithm
those of the direct product, which can exceed the peak.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from peak import gflops

import nbcnn
from nbcnn.bench.machine import describe, summary
from nbcnn.lower.model import Model, StepTime
from nbcnn.passes import Pipeline

RESULTS = Path(__file__).parent / "results" / "layers"


def least_times(model: Model, seconds: float) -> list[StepTime]:
    """The row of each step with its least time within ``seconds``."""
    rng = np.random.default_rng(0)
    inputs = {k: rng.standard_normal(t.extents(1), np.float32) for k, t in model.graph.inputs.items()}
    best = model.profile(repeats=3, **inputs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        rows = model.profile(repeats=1, **inputs)
        best = [min(pair, key=lambda row: row.seconds) for pair in zip(best, rows, strict=True)]
    return best


def table(rows: list[StepTime], peak: float) -> tuple[str, float]:
    """Markdown, and the median share of the peak over convolutions and dense layers."""
    lines = ["| node | kernel | us | GFLOP/s | of peak | GB/s |", "|---|---|--:|--:|--:|--:|"]
    shares = []
    for row in rows:
        work = f"{row.gflops:.0f} | {row.gflops / peak:.0%}" if row.gflops else " | "
        if row.gflops:
            shares.append(row.gflops / peak)
        lines.append(f"| {row.node} | `{row.kernel}` | {1e6 * row.seconds:.0f} | {work} | {row.gbytes:.0f} |")
    return "\n".join(lines), statistics.median(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--passes", default="default")
    parser.add_argument("--sparsity", type=float)
    parser.add_argument("--pattern")
    parser.add_argument("--time", type=float, default=10)
    args = parser.parse_args()
    chosen = {k: v for k, v in (("sparsity", args.sparsity), ("pattern", args.pattern)) if v is not None}
    pipeline = Pipeline.of(args.passes, chosen)
    graph = nbcnn.optimize(nbcnn.load(args.model), pipeline)
    rows = least_times(nbcnn.compile(graph, passes="none", threads=1, strips=False), args.time)
    peak = gflops()
    text, median = table(rows, peak)
    total = 1e3 * sum(row.seconds for row in rows)
    name = "-".join([args.model, *(str(v) for v in reversed(chosen.values()))])
    head = (
        f"# {name}: layer by layer\n\n{summary(describe())}\n\nPeak {peak:.0f} GFLOP/s; sum of the least "
        f"times {total:.2f} ms; median of the layers' shares of the peak {median:.0%}. "
        "Made by `benchmarks/layers.py`.\n"
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(f"{head}\n{text}\n")
    sys.stdout.write(f"{head}\n{text}\n")


if __name__ == "__main__":
    main()
