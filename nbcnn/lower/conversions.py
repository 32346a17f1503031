"""How long it takes to convert a value between pixels and whole channels, where that must be weighed.

Beside kernels that were timed on all threads an estimate on one will not do: conversions of a few sizes are
timed too, once for a machine and a number of threads.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable

import numpy as np

from nbcnn.ir.types import BATCH, TensorType
from nbcnn.kernels.base import Emit, Store
from nbcnn.kernels.cpu import backend, convert
from nbcnn.kernels.layouts import nhwc, planes
from nbcnn.kernels.steps import Step
from nbcnn.lower.assign import estimated
from nbcnn.lower.select import Contest, of_channels
from nbcnn.lower.stopwatch import timed_steps, view
from nbcnn.lower.trial import remembered
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache, store
from nbcnn.target import Target

SIZES = tuple(TensorType((BATCH, 64, side, side)) for side in (4, 14, 28, 56, 112))
"""Values of 4 KiB to 3 MiB."""


def seconds(contests: list[Contest], target: Target, options: CompileOptions) -> Callable[[int], float]:
    """Seconds by bytes: measured if a kernel of whole channels was, estimated else."""
    measured = (c for c in contests if any(o.measured and of_channels(c.site, o.kernel) for o in c.offers))
    if not any(measured):
        return estimated
    emit = Emit(1, target, options, Store(), backend())
    steps = [steps_of(type_, emit) for type_ in SIZES]
    codes = [codecache.key(step.kernel, target) for step in steps[0]]
    facts = (target, options.threads, platform.node(), SIZES, codes)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()
    times = remembered(key, len(SIZES))
    if times is None:
        times = [found for (found,) in timed_steps([[both] for both in steps], emit)]
        store.write("trial", key, json.dumps(times).encode())
    of_one = [sum(found) / len(found) / 2 for found in times]  # of the two that were timed together
    points = [float(type_.nbytes()) for type_ in SIZES]

    def interpolated(nbytes: int) -> float:
        return float(np.interp(nbytes, points, of_one)) * max(1.0, nbytes / points[-1])

    return interpolated


def steps_of(type_: TensorType, emit: Emit) -> list[Step]:
    """A conversion to whole channels, and one back."""
    pixels, channels = (view(kind.kind, type_, kind, emit, "value") for kind in (nhwc(type_), planes(type_)))
    steps = [
        *convert.convert("there", pixels, channels, type_, emit),
        *convert.convert("back", channels, pixels, type_, emit),
    ]
    return [step for step in steps if isinstance(step, Step)]
