"""How ``nbcnn sensitivity`` tells what it found: tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from nbcnn.debug.layer_times import LayerTimes
    from nbcnn.debug.sensitivity import Score, Sensitivity


@dataclass(frozen=True)
class Result:
    """What was ``found``; with a target, the shares ``chosen`` by layer and the ``scores`` of whole models.

    ``times`` are those of the layers where the target is in milliseconds, ``took`` the seconds of the pruned
    model.
    """

    found: Sensitivity
    chosen: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    times: LayerTimes | None = None
    took: float | None = None

    @property
    def expected(self) -> float:
        """Seconds of a call of the pruned model, the times of its layers and of the rest added up."""
        times = self.times
        if times is None:
            return 0.0
        layers = (entry.layer for entry in self.found.entries)
        return times.rest + sum(times(layer, self.chosen.get(layer.name, 0.0)) for layer in layers)


def show(result: Result) -> None:
    """Print it for people."""
    from nbcnn.cli import tables

    found, chosen, scores = result.found, result.chosen, result.scores
    out = tables.console()
    out.print(_table(found, chosen))
    for name, why in found.skipped.items():
        out.print(f"left out: {name}: {why}", markup=False)
    zeros = sum(chosen.get(e.layer.name, 0) * e.layer.size for e in found.entries)
    total = sum(e.layer.size for e in found.entries)
    macs = sum((1 - chosen.get(e.layer.name, 0)) * e.macs for e in found.entries)
    if chosen:
        left = macs / max(sum(e.macs for e in found.entries), 1)
        out.print(f"chosen: {zeros / total:.1%} zeros, {left:.1%} of the multiply-accumulates")
    if result.times is not None:
        _show_times(result, result.times)
    for name, score in scores.items():
        right = f", accuracy {score.accuracy:.2%}" if found.accuracy is not None else ""
        out.print(f"{name}: error {score.error:.4g}{right}, the whole model measured")


def _show_times(result: Result, times: LayerTimes) -> None:
    from rich.markup import escape

    from nbcnn.cli import tables

    shares = tuple(f"{share:.4g}" for share in times.shares)
    table = tables.table("layer", *shares, right=shares, title="milliseconds at each share of zeros")
    for entry in result.found.entries:
        milliseconds = (f"{1e3 * seconds:.4f}" for seconds in times.layers[entry.layer.weight])
        table.add_row(escape(entry.layer.name), *milliseconds)
    table.add_row("the rest", f"{1e3 * times.rest:.4f}")
    out = tables.console()
    out.print(table)
    measured = "" if result.took is None else f"; measured as a whole {1e3 * result.took:.4g} ms"
    dense, chosen = (f"{1e3 * seconds:.4g} ms" for seconds in (times.dense, result.expected))
    out.print(f"dense: {dense}; chosen: {chosen}, step by step{measured}")


def _table(found: Sensitivity, chosen: Mapping[str, float]) -> Table:
    from rich.markup import escape

    from nbcnn.cli import tables

    shares = [f"{share:.4g}" for share in found.shares]
    extra = ("chosen",) if chosen else ()
    right = ("weights", "MACs", *shares, *extra)
    what = "error" if found.accuracy is None else f"accuracy (dense {found.accuracy:.2%})"
    title = f"{found.model}: {what} at each share of zeros, {found.settings.pattern}, {found.samples} samples"
    table = tables.table("layer", "shape", *right, right=right, title=title)
    for entry in found.entries:
        cells = [f"{e:.4f}" for e in entry.errors]
        if entry.accuracy is not None:
            cells = [f"{a:.2%}" for a in entry.accuracy]
        share = chosen.get(entry.layer.name)
        table.add_row(
            escape(entry.layer.name),
            " x ".join(map(str, entry.layer.shape)),
            f"{entry.layer.size:,}",
            f"{entry.macs:,}",
            *cells,
            *([f"{share:.4g}" if share else ""] if chosen else []),
        )
    return table


def json_text(result: Result) -> str:
    """It for programs; no number stands for an error that is none."""
    import json
    import math

    found, chosen, scores, times = result.found, result.chosen, result.scores, result.times

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    report: dict[str, Any] = {
        "model": found.model,
        "samples": found.samples,
        "pattern": found.settings.pattern,
        "criterion": found.settings.criterion,
        "shares": list(found.shares),
        "layers": [],
        "skipped": dict(found.skipped),
    }
    labelled = found.accuracy is not None
    if labelled:
        report["accuracy"] = found.accuracy
    for entry in found.entries:
        layer = {
            "layer": entry.layer.name,
            "weight": entry.layer.weight,
            "shape": list(entry.layer.shape),
            "macs": entry.macs,
            "errors": [number(error) for error in entry.errors],
        }
        if entry.accuracy is not None:
            layer["accuracy"] = list(entry.accuracy)
        if times is not None:
            layer["milliseconds"] = [1e3 * seconds for seconds in times.layers[entry.layer.weight]]
        report["layers"].append(layer)
    if chosen:
        report["chosen"] = dict(chosen)
    if times is not None and result.took is not None:
        report |= {
            "timed_shares": list(times.shares),
            "rest_milliseconds": 1e3 * times.rest,
            "dense_milliseconds": 1e3 * times.dense,
            "chosen_milliseconds": 1e3 * result.expected,
            "measured_milliseconds": 1e3 * result.took,
        }
    for name, score in scores.items():
        report[f"{name}_error"] = number(score.error)
        if labelled:
            report[f"{name}_accuracy"] = score.accuracy
    return json.dumps(report, indent=2, allow_nan=False)
