"""Pictures of the results: latency against the best peer, and layers under the machine's roof.

    python benchmarks/plot.py                  # pip install -e '.[plot]'

Draws what ``run.py`` and ``roofline.py`` have measured, and is called by them: ``results/latency.svg``
(``latency-b8.svg`` for a batch of 8) and ``results/roofline.svg``. Colours are Okabe and Ito's, which those
who are colour-blind can tell apart; shapes say the same again.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tables

from nbcnn.bench import markdown
from nbcnn.bench.markdown import Report

RESULTS = Path(__file__).parent / "results"
LOOKS = {1: ("#0072B2", "o"), 2: ("#D55E00", "s"), 4: ("#009E73", "^"), 8: ("#CC79A7", "D")}
"""Colour and marker of a thread count; other counts take the last."""

FAMILIES = {
    "Winograd": ("winograd", "#D55E00", "s"),
    "depthwise": ("depthwise", "#009E73", "^"),
    "other products": ("", "#0072B2", "o"),
}
"""Of kernels in the roofline: a word in the kernel's name, colour and marker."""


@dataclass(frozen=True)
class Dot:
    """A network at a thread count: the best peer's latency over nbcnn's with quartiles, and its name."""

    model: str
    threads: int
    ratio: float
    q1: float
    q3: float
    peer: str


def installed() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def dots(reports: Iterable[Report]) -> list[Dot]:
    """One for each report that has a float32 peer."""
    found = []
    for report in reports:
        if best := tables.best_peer(report):
            place = report["model"], report["threads"]
            found.append(Dot(*place, best["ratio"], best["ratio_q1"], best["ratio_q3"], best["name"]))
    return found


def families(layers: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The layers of a network by family of kernel."""
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in FAMILIES}
    for layer in layers:
        name = next(n for n, (word, *_) in FAMILIES.items() if word in layer["kernel"])
        found[name].append(layer)
    return found


def write(folder: Path, reports: list[Report]) -> None:
    """A picture of latencies for each batch size; of several machines, that of the most results."""
    machines = tables.grouped(reports)
    if not machines:
        return
    (where,), group = max(machines.items(), key=lambda item: len(item[1]))
    for (_, batch), part in tables.grouped(group, "batch").items():
        if found := dots(part):
            title = f"{where}, batch {batch}"
            latency(found, title, folder / f"latency{f'-b{batch}' if batch > 1 else ''}.svg")


def latency(found: list[Dot], title: str, path: Path) -> None:
    """A row per network: how many times as fast as the best peer, with quartiles, for each thread count."""
    figure, (axes,) = _figure(8.0, 1.5 + 0.36 * len({d.model for d in found}))
    models = sorted({d.model for d in found}, reverse=True)
    counts = sorted({d.threads for d in found})
    step = 0.3 if len(counts) < 3 else 0.7 / len(counts)
    right = max(d.q3 for d in found)
    for place, threads in enumerate(counts):
        colour, marker = LOOKS.get(threads, LOOKS[8])
        here = [d for d in found if d.threads == threads]
        heights = [models.index(d.model) + step * ((len(counts) - 1) / 2 - place) for d in here]
        mean = markdown.mean([d.ratio for d in here])
        axes.errorbar(
            [d.ratio for d in here],
            heights,
            xerr=[[d.ratio - d.q1 for d in here], [d.q3 - d.ratio for d in here]],
            **{"fmt": marker, "color": colour, "markersize": 6, "capsize": 3, "elinewidth": 1.3},
            label=f"{threads} thread{'s' * (threads > 1)}, geometric mean {mean}",
        )
        axes.axvline(float(mean), color=colour, linewidth=1, linestyle=":", zorder=0)
        for dot, height in zip(here, heights, strict=True):
            axes.annotate(
                *(dot.peer, (1.0, height), (4, 0)),
                **{"xycoords": ("axes fraction", "data"), "textcoords": "offset points"},
                **{"va": "center", "fontsize": 7, "color": colour, "annotation_clip": False},
            )
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlim(min(0.8, *(d.q1 - 0.05 for d in found)), right + 0.1)
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.set_yticks(range(len(models)), models)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("latency of the best float32 peer (right) over nbcnn's; beyond 1 nbcnn is faster")
    axes.set_title(title, fontsize=9, loc="left")
    figure.legend(loc="outside lower center", ncols=len(counts), frameon=False, fontsize=9)
    _save(figure, path)


def roofline(found: Mapping[str, Any], path: Path) -> None:
    """A panel per network: GFLOP/s of each layer against its FLOP a byte, under peak and bandwidths.

    A mark grows with the time of its layer.
    """
    names = list(found["models"])
    figure, panels = _figure(5.2 * len(names), 4.6, len(names))
    points = [layer for layers in found["models"].values() for layer in layers]
    left = min(p["intensity"] for p in points) / 1.6
    right = max(p["intensity"] for p in points) * 1.6
    peak = found["gflops"]
    bottom = min(p["gflops"] for p in points) / 2
    top = max(peak, *(p["gflops"] for p in points)) * 1.8
    for axes, name in zip(panels, names, strict=True):
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
        for style, (level, speed) in zip(("-", "--", ":"), found["gbytes"].items(), strict=False):
            ridge = peak / speed
            axes.plot([left, ridge], [left * speed, peak], style, color="#666666", linewidth=1.1, zorder=1,
                      label=f"{level} {speed:.0f} GB/s")  # fmt: skip
        axes.axhline(peak, color="black", linewidth=1.2, zorder=1, label=f"peak {peak:.0f} GFLOP/s")
        for family, layers in families(found["models"][name]).items():
            _, colour, marker = FAMILIES[family]
            axes.scatter(
                [p["intensity"] for p in layers],
                [p["gflops"] for p in layers],
                s=[8 + 1.2 * p["us"] ** 0.6 for p in layers],
                **{"c": colour, "marker": marker, "alpha": 0.75, "linewidths": 0, "zorder": 3},
                label=family,
            )
        axes.set_title(name, fontsize=10)
        axes.grid(which="major", color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("FLOP per byte")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("GFLOP/s on one thread")
    legend = figure.legend(
        *panels[0].get_legend_handles_labels(),
        **{"loc": "outside lower center", "ncols": 4, "frameon": False, "fontsize": 8},
    )
    for mark in legend.legend_handles[-len(FAMILIES) :]:
        mark.set_sizes([35])
    _save(figure, path)


def _figure(width: float, height: float, panels: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])


def _save(figure: Any, path: Path) -> None:
    """The same bytes for the same figures."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "nbcnn"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=130)


def main() -> int:
    if not installed():
        sys.stderr.write("no pictures: pip install -e '.[plot]'\n")
        return 2
    write(RESULTS, tables.read(RESULTS))
    if (file := RESULTS / "roofline.json").exists():
        roofline(json.loads(file.read_text()), RESULTS / "roofline.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
