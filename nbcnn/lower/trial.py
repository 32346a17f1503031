"""Trials: kernels are timed on this machine, against their rivals.

Those are tried whose speed no estimate foretells, such as sparse ones, and where one is tried, those of the
other sites that could take either layout of its results. `CompileOptions.tune` has all tried that a site
could take, and their variants. The times of a site are remembered in the kernel cache, under everything they
depend on: its shapes, the compiled kernels and their arguments, the zeros of its weights, the machine and the
threads. Another network that has such a site reads them there.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np

from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import backend
from nbcnn.lower.select import Candidate, Contest, Offer, of_channels
from nbcnn.lower.stopwatch import PLACES, Progress, Times, steps_of, timed
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache, store
from nbcnn.target import Target

HOPELESS = 4.0
"""A rival that is estimated to take so many times as long as the best rival is not tried."""

WORTH_VARYING = 1.5
"""Likewise, and other parameters of it are not."""

MARGIN = 0.02
"""By so much a kernel must be faster than the one that estimates choose, at each place, or that one stays."""


def measure(
    contests: list[Contest], target: Target, options: CompileOptions, progress: Progress | None = None
) -> list[Contest]:
    """``contests`` with the measured seconds of the kernels that are tried, and only those that may win.

    ``progress(done, total, what)`` is called while kernels are compiled for the trial and timed.
    """
    rivals = _rivals(contests, target, bool(options.tune))
    if not rivals:
        return contests
    leading = contests[next(iter(rivals))].site.out_types[0].shape[0]  # that of all sites with kernels
    emit = Emit(leading if isinstance(leading, int) else 1, target, options, Store(), backend())
    keys = _keys([(contests[i].site, kernels) for i, kernels in rivals.items()], emit)
    times: dict[str, list[Times]] = {}
    waiting = set()
    for key, kernels in zip(keys, rivals.values(), strict=True):
        if key not in times and (known := remembered(key, len(kernels))):
            times[key] = known
        elif key not in times:
            waiting.add(key)
    if waiting:
        runs = []
        for key, (i, kernels) in zip(keys, rivals.items(), strict=True):
            new = key in waiting
            waiting.discard(key)
            # The others run too, so that the weights of those that are timed get as cold as in the network.
            runs.append((contests[i].site, kernels if new else kernels[:1]))
        for key, found in zip(keys, timed(runs, emit, progress), strict=True):
            if key not in times:
                times[key] = found
                store.write("trial", key, json.dumps(found).encode())
    judged = list(contests)
    for key, (i, kernels) in zip(keys, rivals.items(), strict=True):
        judged[i] = _judged(contests[i], dict(zip(kernels, times[key], strict=True)))
    return judged


def _rivals(contests: list[Contest], target: Target, tune: bool) -> dict[int, tuple[Kernel, ...]]:
    """The kernels to be tried at each contest that has some, at least two, the one to beat first."""
    on_trial = any(_is_open(c) for c in contests)
    found = {}
    for i, contest in enumerate(contests):
        kinds = {of_channels(contest.site, o.kernel) for o in contest.offers}
        if contest.site.constants or not (tune or _is_open(contest) or (on_trial and len(kinds) > 1)):
            continue
        best = min((o.seconds for o in contest.offers if not o.kernel.on_trial), default=math.inf)
        offers = [o for o in contest.offers if o.kernel.on_trial or o.seconds <= HOPELESS * best]
        kernels = [o.kernel for o in sorted(offers, key=lambda o: (o.kernel.on_trial, o.seconds))]
        if tune:
            varied = [o.kernel for o in offers if o.seconds <= WORTH_VARYING * best]
            kernels += [v for kernel in varied for v in kernel.variants(contest.site, target)]
        if len(kernels) > 1:
            found[i] = tuple(kernels)
    return found


def _is_open(contest: Contest) -> bool:
    """Whether no estimate can say which offer is the best."""
    return 0 < sum(o.kernel.on_trial for o in contest.offers) < len(contest.offers)


def _judged(contest: Contest, times: dict[Kernel, Times]) -> Contest:
    """The contest among the kernels that were timed; those too near to the first of their kind have lost.

    There are two kinds, by the layout that they read, for the choice between them depends on the neighbours.
    """
    first: dict[bool, Times] = {}
    offers, lost = [], []
    for kernel, seconds in times.items():
        kind = of_channels(contest.site, kernel)
        offer = Offer(kernel, sum(seconds) / len(seconds), True)
        bars = first.setdefault(kind, seconds)
        faster = all(s < (1 - MARGIN) * bar for s, bar in zip(seconds, bars, strict=True))
        if faster or bars is seconds:
            offers.append(offer)
        else:
            lost.append(Candidate.of(offer))
    hopeless = [Candidate.of(o) for o in contest.offers if o.kernel not in times]
    return Contest(contest.site, tuple(offers), (*lost, *hopeless, *contest.refused))


# -- what is remembered ----------------------------------------------------------------------------


class _Unpacked(Store):
    """Makes nothing: steps that are emitted with it are never run."""

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        return np.zeros(1, np.int32)


def _keys(sites: list[tuple[Site, tuple[Kernel, ...]]], emit: Emit) -> list[str]:
    """A digest for each site and its kernels of everything that their times depend on."""
    emit = replace(emit, store=_Unpacked())
    machine = (emit.target, emit.options.threads, platform.node())
    codes: dict[codecache.KernelSpec, str] = {}
    known: dict[Hashable, str] = {}
    keys = []
    for site, kernels in sites:
        same = (_form(site), kernels)
        if same not in known:
            calls = []
            for kernel in kernels:
                for step in steps_of(site, kernel, emit):
                    if step.kernel not in codes:
                        codes[step.kernel] = codecache.key(step.kernel, emit.target)
                    calls.append((codes[step.kernel], [a for a in step.args if isinstance(a, int)]))
                calls.append(("", []))
            known[same] = hashlib.sha256(repr((machine, same[0], calls)).encode()).hexdigest()
        keys.append(known[same])
    return keys


def _form(site: Site) -> Hashable:
    """What a site computes, without the names of its nodes and values."""
    numbers = {value: n for n, value in enumerate(dict.fromkeys(site.data))}
    body = []
    for node in site.body:
        inputs = tuple(numbers.get(site.actual(v), "weight") for v in node.inputs)
        numbers |= {v: len(numbers) + n for n, v in enumerate(node.outputs)}
        body.append((repr(node.op), inputs))
    weights = tuple((w.type, repr(w.sparsity)) for _, w in site.weights)
    return tuple(body), site.in_types, site.out_types, weights


def remembered(key: str, count: int) -> list[Times] | None:
    """The times of ``count`` kernels that were written under ``key``; None if there are none, or others."""
    try:
        found = json.loads(store.read("trial", key) or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != count:
        return None
    sound = all(
        isinstance(times, list)
        and len(times) == len(PLACES)
        and all(isinstance(t, float) and 0 <= t < math.inf for t in times)
        for times in found
    )
    return [tuple(times) for times in found] if sound else None
