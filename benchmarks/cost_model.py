"""How well the cost model foretells kernels: seconds estimated and measured, node by node.

    python benchmarks/cost_model.py resnet50,mobilenet_v2 [--steps] [--time 5] [--write]

Every node is timed by itself on one thread at batch 1, in the order of the network, round after round for
``--time`` seconds a model; its least time counts, less what it takes to call nothing. The ratio of a node is
its estimate over that. Nodes of less than ``--least`` microseconds are left out of the summary: their
estimates decide nothing. ``--steps`` prints every node, ``--write`` writes ``results/cost_model.md`` and
``.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from layers import least_times

import nbcnn
from nbcnn.bench.machine import describe, summary
from nbcnn.lower.model import CONVERSION, Model
from nbcnn.runtime import driver

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """A node: what its kernel was estimated to take, and what it took, in microseconds."""

    model: str
    node: str
    kernel: str
    what: str
    estimated: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.estimated / self.measured


@dataclass(frozen=True)
class Summary:
    """The ratios of some nodes: quartiles, and the shares within 10 and 25 % of 1."""

    kernel: str
    nodes: int
    microseconds: float
    low: float
    median: float
    high: float
    within10: float
    within25: float

    @classmethod
    def of(cls, kernel: str, rows: list[Row]) -> Summary:
        ratios = [row.ratio for row in rows]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if rows[1:] else ratios * 3
        near = [sum(1 / (1 + x) <= r <= 1 + x for r in ratios) / len(ratios) for x in (0.1, 0.25)]
        return cls(kernel, len(rows), sum(row.measured for row in rows), low, median, high, *near)


def rows_of(name: str, passes: str, seconds: float) -> list[Row]:
    """The nodes of a model that have an estimate."""
    model = nbcnn.compile(nbcnn.load(name), passes=passes, threads=1, strips=False)  # each node by itself
    idle = _idle(model)
    took: dict[str, float] = defaultdict(float)
    for row in least_times(model, seconds):
        if row.op != CONVERSION:
            took[row.node] += max(row.seconds - idle, 1e-9)
    return [
        Row(
            name,
            c.site.name,
            c.kernel.name,
            _what(c.site),
            round(1e6 * c.seconds, 2),
            max(round(1e6 * took[c.site.name], 2), 0.01),
        )
        for c in model.choices
        if c.site.name in took and 0 < c.seconds < float("inf")
    ]


def _what(site) -> str:
    """``64x56x56 -> 256x56x56 k1s1``, and the operator where it is no convolution."""
    sizes = ["x".join(map(str, t.shape[1:])) for t in (site.in_types[0], site.out_types[0])]
    op = site.body[0].op
    kernel, stride = (getattr(op, field, None) for field in ("kernel", "stride"))
    window = f" k{kernel[0]}s{stride[0]}" if kernel and stride else ""
    return f"{' -> '.join(sizes)}{window} {'+'.join(n.op.name for n in site.body)}"


def _idle(model: Model) -> float:
    """Least seconds of a walk over no steps."""
    best = float("inf")
    for _ in range(1000):
        start = time.perf_counter()
        driver.walk(0, 0, model.threads)
        best = min(best, time.perf_counter() - start)
    return best


def summaries(rows: list[Row], least: float) -> list[Summary]:
    """All nodes of at least ``least`` microseconds, then those of each kernel, most time first."""
    counted = [row for row in rows if row.measured >= least]
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in counted:
        groups[row.kernel].append(row)
    found = sorted((Summary.of(k, g) for k, g in groups.items()), key=lambda s: -s.microseconds)
    return [Summary.of("all", counted), *found] if counted else []


def markdown(found: list[Summary]) -> str:
    lines = [
        "| kernel | nodes | ms | 1st quartile | median | 3rd quartile | within 10 % | within 25 % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for s in found:
        quartiles = f"{s.low:.2f} | {s.median:.2f} | {s.high:.2f}"
        shares = f"{s.within10:.0%} | {s.within25:.0%}"
        lines.append(f"| {s.kernel} | {s.nodes} | {s.microseconds / 1e3:.2f} | {quartiles} | {shares} |")
    return "\n".join(lines)


def _print(rows: list[Row]) -> None:
    for row in rows:
        figures = f"{row.estimated:8.1f} {row.measured:8.1f} us {row.ratio:5.2f}"
        sys.stdout.write(f"{row.node:26.26} {row.kernel:12} {figures}  {row.what}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", help="names, with commas between")
    parser.add_argument("--passes", default="default")
    parser.add_argument("--time", type=float, default=5)
    parser.add_argument("--least", type=float, default=3, help="microseconds of a node that counts")
    parser.add_argument("--kernel", help="only the nodes of this kernel")
    parser.add_argument("--steps", action="store_true", help="print every node")
    parser.add_argument("--write", action="store_true", help="write results/cost_model.md and .json")
    args = parser.parse_args()
    rows: list[Row] = []
    for name in args.models.split(","):
        found = rows_of(name, args.passes, args.time)
        found = [row for row in found if args.kernel in (None, row.kernel)]
        if args.steps:
            _print(found)
        rows += found
    text = markdown(summaries(rows, args.least))
    sys.stdout.write(f"{text}\n")
    if args.write:
        head = (
            f"# Estimated over measured seconds\n\n{summary(describe())}\n\n{args.models}: one thread, "
            f"batch 1, nodes of at least {args.least:g} us. Made by `benchmarks/cost_model.py`.\n\n"
        )
        (RESULTS / "cost_model.md").write_text(f"{head}{text}\n")
        data = {"machine": describe(), "rows": [asdict(row) for row in rows]}
        (RESULTS / "cost_model.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
