"""From measurements to verdicts: percentiles, ratios with quartiles, errors, warnings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbcnn.bench.engines import Arrays
from nbcnn.bench.measure import Block, Measured, Opened

NOISY = 1.15
"""A ratio whose third quartile exceeds its first by this factor says little."""

TOLERANCE = {"float32": 1e-3, "tf32": 0.02, "bfloat16": 0.2, "float16": 0.02, "int8": 0.2}
"""The largest relative error at which two engines still compute the same network."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per call."""

    median: float
    p90: float
    p99: float
    min: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """An engine's time from one answer to the next over nbcnn's: above 1, nbcnn is the faster one."""

    median: float
    q1: float
    q3: float

    @property
    def noisy(self) -> bool:
        return self.q3 > NOISY * self.q1

    def __str__(self) -> str:
        return f"{self.median:.2f}x [{self.q1:.2f}-{self.q3:.2f}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One engine's line in the table.

    ``max_rel_err`` is the largest of max|y - y_nbcnn| / max|y_nbcnn| over all outputs; None when
    the outputs cannot be compared (names, shapes, values that are not finite). ``ratio`` is None
    for nbcnn itself. ``peer`` tells whether the row counts for the verdict, ``note`` how the engine runs it,
    ``device_ms`` the milliseconds of an inference by a GPU's clock.
    """

    name: str
    version: str
    precision: str
    latency_ms: Latency
    images_per_s: float
    load_s: float
    compile_s: float
    peak_rss_bytes: int
    max_rel_err: float | None
    ratio: Ratio | None
    peer: bool = True
    note: str = ""
    device_ms: float | None = None


def judge(found: Measured, batch: int) -> tuple[list[Row], list[str]]:
    """A row per engine, the first (nbcnn) first, and the warnings that go with them."""
    base = found.opened[0]
    rows = [_row(opened, base, found.timeline, batch) for opened in found.opened]
    return rows, _warnings(rows, found)


def ratios(timeline: Sequence[Block], base: str, engine: str) -> list[float]:
    """One ratio of periods per pair of adjacent blocks of ``engine`` and ``base``.

    An engine's block between two of the base gives two, so that a drift of the machine cancels.
    """
    pairs = []
    for left, right in itertools.pairwise(timeline):
        if (left.engine, right.engine) == (base, engine):
            left, right = right, left
        elif (left.engine, right.engine) != (engine, base):
            continue
        pairs.append(left.period / right.period)
    return pairs


def relative_error(ours: Arrays, theirs: Arrays) -> float | None:
    """The largest max|theirs - ours| / max|ours| over all outputs, or None: not comparable.

    Outputs are matched by name, or by position where an engine has renamed them.
    """
    if len(ours) != len(theirs):
        return None
    same_names = ours.keys() == theirs.keys()
    worst = 0.0
    for name, x, y_by_position in zip(ours, ours.values(), theirs.values(), strict=True):
        y = theirs[name] if same_names else y_by_position
        if x.shape != y.shape:
            return None
        x, y = x.astype(np.float64), y.astype(np.float64)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return None
        scale, error = np.abs(x).max(initial=0.0), np.abs(y - x).max(initial=0.0)
        if error and not scale:
            return None
        worst = max(worst, float(error / scale) if scale else 0.0)
    return worst


def latency(timeline: Sequence[Block], engine: str) -> Latency:
    """Percentiles over every call of every block."""
    calls = [np.asarray(b.latencies, np.float64) for b in timeline if b.engine == engine]
    ms = np.concatenate(calls) / 1e6
    median, p90, p99 = np.percentile(ms, [50, 90, 99])
    return Latency(float(median), float(p90), float(p99), float(ms.min()))


def verdict(rows: Sequence[Row]) -> str:
    """One sentence: nbcnn against the fastest peer; empty without peers."""
    peers = [(row.ratio.median, row) for row in rows[1:] if row.peer and row.ratio is not None]
    if not peers:
        return ""
    ratio, best = min(peers, key=lambda peer: peer[0])
    return f"{rows[0].name} is {ratio:.2f}x as fast as {best.name}, the fastest peer at {best.precision}"


def _row(opened: Opened, base: Opened, timeline: Sequence[Block], batch: int) -> Row:
    name = opened.engine.name
    times = latency(timeline, name)
    period = float(np.median([block.period for block in timeline if block.engine == name]))
    ratio = None
    if opened is not base:
        q1, median, q3 = np.percentile(ratios(timeline, base.engine.name, name), [25, 50, 75])
        ratio = Ratio(float(median), float(q1), float(q3))
    return Row(
        name=name,
        version=opened.version,
        precision=opened.precision,
        latency_ms=times,
        images_per_s=1e9 * batch / period,
        load_s=opened.load_s,
        compile_s=opened.compile_s,
        peak_rss_bytes=opened.peak_rss_bytes,
        max_rel_err=relative_error(base.outputs, opened.outputs),
        ratio=ratio,
        peer=opened.engine.peer,
        note=opened.note,
        device_ms=None if opened.device_s is None else 1e3 * opened.device_s,
    )


def _warnings(rows: Sequence[Row], found: Measured) -> list[str]:
    warnings = []
    noisy = [row.name for row in rows if row.ratio is not None and row.ratio.noisy]
    if len(rows) == 1:  # without a ratio, the spread of the blocks says how still it was
        q1, q3 = np.percentile([b.period for b in found.timeline], [25, 75])
        if q3 > NOISY * q1:
            warnings.append(f"noisy machine: {rows[0].name}'s blocks differ by {q3 / q1 - 1:.0%}")
    if noisy:
        warnings.append(
            f"noisy machine: the ratio to {', '.join(noisy)} varies by more than "
            f"{NOISY - 1:.0%} between its quartiles; measure longer (--time) on an idle machine"
        )
    for row in rows:
        lowest = max(TOLERANCE.get(p, 1e-3) for p in (row.precision, rows[0].precision))
        if row.max_rel_err is None:
            warnings.append(f"{row.name}: its outputs cannot be compared with {rows[0].name}'s")
        elif row.max_rel_err > lowest:
            warnings.append(
                f"{row.name}: its outputs differ by {row.max_rel_err:.1e} "
                f"(more than {lowest:g} at {row.precision})"
            )
    for engine in found.opened:
        if not engine.asleep:
            warnings.append(f"{engine.engine.name} kept spinning between blocks; others suffered")
    return warnings
