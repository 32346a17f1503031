"""The tables of the main benchmark, made of the reports that ``run.py`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from nbcnn.bench import markdown
from nbcnn.bench.engines import ENGINES
from nbcnn.bench.markdown import Report

PEERS = frozenset(row.name for rows in ENGINES.values() for row in rows if row.peer)
"""The engines that a verdict counts; the others stand beside."""

NAME = re.compile(r".+-\d+t(-b\d+)?\.json")
METHOD = "Ratio: the engine's latency over nbcnn's, median [quartiles]; above 1 nbcnn is faster."
BEGIN, END = "<!-- results: benchmarks/run.py writes what follows -->", "<!-- end of results -->"


def file_name(model: str, threads: int, batch: int) -> str:
    """``resnet50-2t.json``, ``resnet50-2t-b8.json``: what `read` finds."""
    return f"{model}-{threads}t{f'-b{batch}' if batch > 1 else ''}.json"


def read(folder: Path) -> list[Report]:
    """Every report in ``folder``, by name."""
    return [json.loads(p.read_text()) for p in sorted(folder.glob("*.json")) if NAME.fullmatch(p.name)]


def best_peer(report: Report) -> Report | None:
    """The fastest float32 peer, None where none ran."""
    peers = [e for e in report["engines"][1:] if e["name"] in PEERS and e["precision"] == "float32"]
    return min(peers, key=lambda engine: engine["ratio"], default=None)


def engine(report: Report, name: str) -> Report | None:
    """The row of the engine called ``name``."""
    return next((e for e in report["engines"] if e["name"] == name), None)


def full(reports: Iterable[Report]) -> str:
    """A table per machine, batch and thread count: nbcnn's latency, the best peer, every engine's ratio."""
    parts = ["# Results", "", METHOD]
    parts += ["The best peer is the fastest engine in float32, chosen model by model."]
    for (where, batch, threads), group in grouped(reports, "batch", "threads").items():
        names = list(dict.fromkeys(e["name"] for r in group for e in r["engines"][1:]))
        rows = [
            [r["model"], _ms(r), _best(r), *(markdown.ratio(engine(r, name)) for name in names)]
            for r in group
        ]
        rows.append(["geometric mean", "", _mean_of_best(group), *(_mean(group, name) for name in names)])
        head = ["model", "nbcnn ms", "best peer", *names]
        title = f"## {where}, threads: {threads}, batch: {batch}"
        parts += ["", title, "", *markdown.table(head, rows), "", _versions(group)]
        parts += [
            f"* {f['name']} cannot run {r['model']}: {f['error']}" for r in group for f in r.get("failed", ())
        ]
    return "\n".join(parts) + "\n"


def short(reports: Iterable[Report]) -> str:
    """A table per machine and batch: for each thread count nbcnn's latency and the best peer's ratio."""
    parts = []
    for (where, batch), group in grouped(reports, "batch").items():
        threads = sorted({r["threads"] for r in group})
        by_place = {(r["model"], r["threads"]): r for r in group}
        models = sorted({r["model"] for r in group})
        default = "openvino (default precision)"
        head = ["model"]
        for n in threads:
            head += [f"ms, {n} thread{'s' * (n > 1)}", "best float32 peer", "OpenVINO's default precision"]
        rows = []
        for model in models:
            row = [model]
            for n in threads:
                r = by_place.get((model, n))
                row += [_ms(r), _best(r), _plain(engine(r, default))] if r else ["-"] * 3
            rows.append(row)
        means = ["geometric mean"]
        for n in threads:
            here = [r for r in group if r["threads"] == n]
            means += ["", f"**{_mean_of_best(here)}**", _mean(here, default)]
        title = f"### {where}, batch {batch}"
        parts += [title, "", *markdown.table(head, [*rows, means]), "", _versions(group), ""]
    return "\n".join(parts).rstrip()


def in_readme(readme: str, text: str) -> str:
    """The project's README with ``text`` between its two markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def grouped(reports: Iterable[Report], *keys: str) -> dict[tuple, list[Report]]:
    """Reports by machine and the fields ``keys``, in order."""
    found: dict[tuple, list[Report]] = {}
    for report in reports:
        found.setdefault((markdown.machine(report), *(report[k] for k in keys)), []).append(report)
    return dict(sorted(found.items()))


def _ms(report: Report) -> str:
    return f"{report['engines'][0]['latency_ms']['median']:.2f}"


def _best(report: Report) -> str:
    best = best_peer(report)
    return f"{markdown.ratio(best)} {best['name']}" if best else "-"


def _plain(row: Report | None) -> str:
    return f"{row['ratio']:.2f} {row['precision']}" if row else "-"


def _mean_of_best(group: Iterable[Report]) -> str:
    return markdown.mean([best["ratio"] for best in map(best_peer, group) if best])


def _mean(group: Iterable[Report], name: str) -> str:
    return markdown.mean([row["ratio"] for row in (engine(r, name) for r in group) if row])


def _versions(group: Iterable[Report]) -> str:
    """The engines of ``group`` with version, each once, and what OpenVINO's default precision was."""
    rows = [e for r in group for e in r["engines"]]
    return "; ".join(dict.fromkeys(f"{e['name']} {e['version']} {e['precision']}" for e in rows))
