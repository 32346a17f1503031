"""What a bench says: a table for people, JSON for programs, a profile per step."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nbcnn.bench.judge import Row, verdict
from nbcnn.bench.machine import summary
from nbcnn.errors import NbcnnError

PIPED_WIDTH = 140

NARROW_WIDTH = 115
"""Below this width the table leaves out the columns that are for a second look."""

HEADINGS = {"seconds": "ms", "gflops": "GFLOP/s", "gbytes": "GB/s"}
"""What the profile calls fields that it shows in a unit of its own."""

SECOND_LOOK = ("p90", "p99", "load s", "compile s", "MiB")


@dataclass(frozen=True, slots=True)
class Result:
    """All a bench found. ``missing`` are engines not installed, ``failed`` maps names to errors."""

    model: str
    batch: int
    threads: int
    streams: int
    target: str
    precision: str
    passes: str
    machine: Mapping[str, Any]
    rows: Sequence[Row]
    missing: Sequence[Mapping[str, str]] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    profile: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """The documented object. ``failed`` is there only when an engine failed, ``device_ms`` on GPUs."""
        report: dict[str, Any] = {
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "streams": self.streams,
            "target": self.target,
            "precision": self.precision,
            "passes": self.passes,
            "machine": dict(self.machine),
            "engines": [_engine(row) for row in self.rows],
            "missing": [dict(entry) for entry in self.missing],
        }
        if self.failed:
            report["failed"] = [{"name": n, "error": e} for n, e in self.failed.items()]
        return report


def _engine(row: Row) -> dict[str, Any]:
    entry = asdict(row)
    del entry["peer"]
    if row.device_ms is None:
        del entry["device_ms"]
    ratio = entry.pop("ratio") or {"median": 1.0, "q1": 1.0, "q3": 1.0}
    return {**entry, "ratio": ratio["median"], "ratio_q1": ratio["q1"], "ratio_q3": ratio["q3"]}


def write_json(result: Result, path: str | Path) -> None:
    """Write ``path`` at once or not at all; NbcnnError when its folder cannot be written."""
    path = Path(path)
    text = json.dumps(result.as_json(), indent=2, allow_nan=False) + "\n"
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are private, reports are not
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise NbcnnError(f"cannot write '{path}': {error.strerror or error}") from error


def check_writable(path: str | Path) -> None:
    """Raise the NbcnnError of `write_json` now, before minutes of measuring."""
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NbcnnError(f"cannot write '{path}': {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def console() -> Console:
    """A console on stdout, as wide as the table when piped, without colours then."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def show(result: Result, to: Console | None = None) -> None:
    """Print the table, what each row computes in, and whatever the reader should beware of."""
    to = to or console()
    to.print(_table(result, to.width))
    to.print(_precisions(result.rows))
    for row in result.rows:
        if row.note:
            to.print(escape(f"{row.name}: {row.note}"))
    for entry in result.missing:
        to.print(escape(f"{entry['name']}: not installed (pip install nbcnn[{entry['extra']}])"))
    for name, error in result.failed.items():
        to.print(f"[red]{escape(f'{name}: failed: {error}')}")
    for warning in result.warnings:
        to.print(f"[yellow]warning: {escape(warning)}")
    if line := verdict(result.rows):
        to.print(f"[bold]{escape(line)}")
    if result.profile:
        show_profile(result.profile, to)


def _table(result: Result, width: int) -> Table:
    where = f"{result.threads} thread" + "s" * (result.threads != 1)
    if result.target != "cpu":
        where = f"{result.target} at {result.precision}"
    if result.streams > 1:
        where = f"{result.streams} streams of {where}"
    table = Table(
        title=escape(f"{result.model}, batch {result.batch}, {where}, passes {result.passes}"),
        caption=escape(summary(dict(result.machine))),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    lines = [_cells(row) for row in result.rows]
    columns = [c for c in lines[0] if width >= NARROW_WIDTH or c not in SECOND_LOOK]
    table.add_column("engine")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row, cells in zip(result.rows, lines, strict=True):
        table.add_row(escape(row.name), *(escape(cells[c]) for c in columns), style=_style(row))
    return table


def _cells(row: Row) -> dict[str, str]:
    """Columns in order; latencies in ms."""
    times = row.latency_ms
    device = {} if row.device_ms is None else {"device ms": _figures(row.device_ms)}
    return {
        "ratio": str(row.ratio or "1"),
        **device,
        "median ms": _figures(times.median),
        "p90": _figures(times.p90),
        "p99": _figures(times.p99),
        "min": _figures(times.min),
        "images/s": _figures(row.images_per_s),
        "load s": f"{row.load_s:.2f}",
        "compile s": f"{row.compile_s:.2f}",
        "MiB": f"{row.peak_rss_bytes / 2**20:.0f}",
        "error": "-" if row.max_rel_err is None else f"{row.max_rel_err:.1e}",
    }


def _style(row: Row) -> str:
    if row.ratio is None:
        return "bold"
    if not row.peer:
        return "dim"
    return "green" if row.ratio.median >= 1 else "red"


def _precisions(rows: Iterable[Row]) -> str:
    by_precision: dict[str, list[str]] = {}
    for row in rows:
        by_precision.setdefault(row.precision, []).append(f"{row.name} {row.version}")
    return escape("; ".join(f"{p}: {', '.join(names)}" for p, names in by_precision.items()))


def show_profile(rows: Sequence[Mapping[str, Any]], to: Console | None = None) -> None:
    """Print one line per step; the columns are the keys of the first row, whatever they are."""
    to = to or console()
    if not rows:
        return
    columns = list(rows[0])
    table = Table(title="profile", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        number = isinstance(rows[0][column], (int, float))
        table.add_column(HEADINGS.get(column, escape(str(column))), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(escape(_cell(column, row.get(column))) for column in columns))
    to.print(table)


def _cell(column: str, value: Any) -> str:
    if column == "seconds":
        return f"{1e3 * value:.4f}"
    if isinstance(value, float):
        return f"{value:.1%}" if column == "share" else _figures(value)
    return "" if value is None else str(value)


def _figures(value: float) -> str:
    """Four significant figures without an exponent: 0.01234, 12.34, 12345."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.4g}" if abs(value) >= 1e-3 else f"{value:.2g}"
