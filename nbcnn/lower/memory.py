"""Where each buffer lies in the arena: buffers that are never alive together share bytes."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from nbcnn.kernels.layouts import Buffer, round_up

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""

Lifetimes = Mapping[Buffer, tuple[int, int]]
"""Buffer -> the first and the last step that touch it."""


def place(lifetimes: Lifetimes) -> dict[Buffer, int]:
    """Byte offsets: buffers in turn, each at the lowest place that is free all its life.

    Greedy as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
    2020. No single order is best for all networks: the best of three is taken.
    """
    orders: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.nbytes, *lifetimes[b]),
        lambda b: (-b.nbytes * (lifetimes[b][1] - lifetimes[b][0] + 1), *lifetimes[b]),
        lambda b: (*lifetimes[b], -b.nbytes),
    )
    return min((_place_in_order(sorted(lifetimes, key=o), lifetimes) for o in orders), key=arena_bytes)


def _place_in_order(buffers: list[Buffer], lifetimes: Lifetimes) -> dict[Buffer, int]:
    offsets: dict[Buffer, int] = {}
    for buffer in buffers:
        first, last = lifetimes[buffer]
        size = round_up(buffer.nbytes, ALIGNMENT)
        at = 0
        for other in sorted(offsets, key=offsets.__getitem__):
            begin, end = lifetimes[other]
            if end < first or last < begin:
                continue
            if at + size <= offsets[other]:
                break
            at = max(at, offsets[other] + round_up(other.nbytes, ALIGNMENT))
        offsets[buffer] = at
    return offsets


def arena_bytes(offsets: Mapping[Buffer, int]) -> int:
    """Size of the arena that these placements need."""
    return max((at + round_up(b.nbytes, ALIGNMENT) for b, at in offsets.items()), default=0)


def live_peak(lifetimes: Lifetimes, steps: int) -> int:
    """The most bytes alive at any step: no placement can need less."""
    changes = [0] * (steps + 1)
    for buffer, (first, last) in lifetimes.items():
        size = round_up(buffer.nbytes, ALIGNMENT)
        changes[first] += size
        changes[last + 1] -= size
    peak = alive = 0
    for change in changes:
        alive += change
        peak = max(peak, alive)
    return peak


def lifetimes(
    touched: Sequence[Sequence[Buffer]], keep: Container[Buffer] = ()
) -> dict[Buffer, tuple[int, int]]:
    """First and last step of each arena buffer; ``touched[i]`` are those of step i.

    The buffers in ``keep`` live to the end, so that their values can be read after the run.
    """
    spans: dict[Buffer, tuple[int, int]] = {}
    for step, buffers in enumerate(touched):
        for buffer in buffers:
            first = spans.get(buffer, (step, step))[0]
            spans[buffer] = (first, len(touched) - 1 if buffer in keep else step)
    return spans
