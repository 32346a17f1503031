"""Cells and headings of the tables that the scripts in ``benchmarks/`` write, from reports as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

Report = dict[str, Any]
"""What `nbcnn.bench.report.write_json` writes."""


def machine(report: Report) -> str:
    """The CPU, its features that matter, and the cores."""
    here = report["machine"]
    return f"{here['cpu']} ({' '.join(here['features'])}; {here['usable_cores']} cores)"


def ratio(engine: Report | None) -> str:
    """An engine's latency over nbcnn's with its quartiles; a dash for an engine that is not there."""
    if engine is None:
        return "-"
    return f"{engine['ratio']:.2f} [{engine['ratio_q1']:.2f}-{engine['ratio_q3']:.2f}]"


def mean(ratios: Sequence[float]) -> str:
    """The geometric mean; a dash of nothing."""
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}" if ratios else "-"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def groups(reports: Iterable[Report]) -> list[tuple[str, int, list[Report], list[str]]]:
    """Reports by machine and thread count: (machine, threads, reports, names of the engines but nbcnn)."""
    found: dict[tuple[str, int], list[Report]] = {}
    for report in reports:
        found.setdefault((machine(report), report["threads"]), []).append(report)
    return [
        (where, threads, group, list(dict.fromkeys(e["name"] for r in group for e in r["engines"][1:])))
        for (where, threads), group in sorted(found.items())
    ]
