"""Which sites are computed together, strip by strip, rather than one after the other.

What a layer writes and only the next one reads need not leave the cache. In a chain of such sites a strip
of rows goes through all of them before the next one is begun, over buffers of a few rows that are used again
and again (M. Alwani et al., "Fused-layer CNN accelerators", 2016). Each part of the team takes a range of
rows, or of images, through the whole chain: values do not pass from core to core, and parts wait for each
other once instead of after every site. In return they compute the rows on both sides of their border twice.

Least times in MobileNetV2 on one core of an AMD Zen 5 (1 MiB of L2, 32 MiB of L3), then on two, in
microseconds: depthwise and 1x1 at 112x112 176 -> 151 and 100 -> 75; 1x1, depthwise and 1x1 at 112x112
352 -> 337 and 189 -> 167; at 28x28 113 -> 112 and 61 -> 57; at 14x14 107 -> 108 and 57 -> 53. With a batch of
16 values do not stay in L3 either: the network takes 64 ms instead of 79, and its arena 23 MB instead of 96.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nbcnn.ir.graph import Graph
from nbcnn.kernels.base import Emit, Rowwise
from nbcnn.kernels.cpu import estimates
from nbcnn.kernels.cpu.product import WEIGHT_BYTES
from nbcnn.kernels.layouts import nhwc
from nbcnn.kernels.rows import Walk
from nbcnn.lower.schedule import Compute, rooms_of, schedule
from nbcnn.lower.select import Choice
from nbcnn.target import Target

EXCHANGED = 1e-11
"""Seconds for each byte that one core writes and another reads."""

MEMORY = 2.5e-11
"""Seconds for each byte that goes to memory or comes from there, for all cores together."""

BARRIER = 1e-6
"""Seconds until all parts of a team have seen that a step is done."""

TURN = 0.15e-6
"""Seconds of each call of a site's function for a strip, beyond its work."""

COPIED = 2e-11
"""Seconds for each byte that is moved within a buffer."""

WORTHWHILE = 0.03
"""The least share of its time that a chain must save."""

LONGEST = 12
"""Sites of a chain."""

Segment = tuple[int, int, int, int]
"""Rows [2], [3] of the last site's result, in each of the images [0], [1]."""


@dataclass(frozen=True)
class Chain:
    """Sites that are computed strip by strip: ``height`` rows of the last one's result at a time.

    ``rooms`` are the rows that the buffers of the values between them hold.
    """

    choices: tuple[Choice, ...]
    walks: tuple[Walk, ...]
    height: int
    rooms: tuple[int, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """What lies between the sites."""
        return tuple(c.site.outputs[0] for c in self.choices[:-1])


def find(graph: Graph, choices: list[Choice], emit: Emit) -> list[Chain]:
    """The chains that pay, by estimate; no site is in two of them."""
    if not emit.options.strips or emit.options.keep_values:
        return []
    return [chain for line in _lines(graph, choices, emit) for chain in _best(line, emit)]


def shares(batch: int, rows: int, parts: int) -> list[list[Segment]]:
    """What each part computes of ``batch`` images of ``rows`` rows: whole ones, and parts of one or two."""
    found = []
    for part in range(parts):
        at, stop = batch * rows * part // parts, batch * rows * (part + 1) // parts
        segments: list[Segment] = []
        while at < stop:
            image, first = divmod(at, rows)
            whole = (stop - image * rows) // rows if first == 0 else 0
            last = rows if whole else min(rows, stop - image * rows)
            segments.append((image, image + max(whole, 1), first, last))
            at = (image + max(whole, 1) - 1) * rows + last
        found.append(segments)
    return found


def _lines(graph: Graph, choices: list[Choice], emit: Emit) -> list[list[Choice]]:
    """The longest runs of sites of which each is the only reader of the one before."""
    reads = Counter(value for c in choices for value in c.site.data)
    wanted = {*graph.outputs.values(), *emit.options.taps}
    readers = {c.site.data[0]: c for c in choices if c.site.data}
    lines: list[list[Choice]] = []
    placed: set[str] = set()
    for choice in choices:
        if choice.site.name in placed or not _by_rows(choice):
            continue
        line = [choice]
        while (value := line[-1].site.outputs[0]) in readers and reads[value] == 1 and value not in wanted:
            reader = readers[value]
            if not _by_rows(reader) or not _fits(line[-1], reader):
                break
            line.append(reader)
        placed.update(c.site.name for c in line)
        lines.append(line)
    return lines


def _by_rows(choice: Choice) -> bool:
    """Whether the site can be computed some rows at a time."""
    site, kernel = choice.site, choice.kernel
    images = all(t.rank == 4 for t in (site.in_types[0], *site.out_types)) if site.in_types else False
    return isinstance(kernel, Rowwise) and images and len(site.outputs) == 1 and kernel.walk(site).meets


def _fits(maker: Choice, reader: Choice) -> bool:
    """Whether ``reader`` takes what ``maker`` writes as it lies."""
    site, kernel = maker.site, maker.kernel
    (layout,) = kernel.writes(site, kernel.reads(site))
    return layout == nhwc(site.out_types[0]) and reader.kernel.accepts(reader.site, 0, layout)


@dataclass(frozen=True)
class _Link:
    """A site and what estimates need: bytes of a row of its result and of its weights, seconds alone."""

    choice: Choice
    walk: Walk
    row: int
    weights: int
    seconds: float

    @classmethod
    def of(cls, choice: Choice, target: Target) -> _Link:
        site, kernel = choice.site, choice.kernel
        assert isinstance(kernel, Rowwise)
        walk, weights = kernel.walk(site), sum(w.type.nbytes() for _, w in site.weights)
        row = estimates.nbytes(site.out_types, target.lanes) // walk.out
        return cls(choice, walk, row, weights, kernel.cost(site, target))


def _best(line: Sequence[Choice], emit: Emit) -> list[Chain]:
    """The chains within ``line`` that together save most."""
    links = [_Link.of(choice, emit.target) for choice in line] if len(line) > 1 else []
    best: list[tuple[float, list[Chain]]] = [(0.0, [])]
    for end in range(1, len(links) + 1):
        options = [best[end - 1]]
        for begin in range(max(0, end - LONGEST), end - 1):
            if found := _chain(links[begin:end], emit):
                gain, chain = found
                options.append((best[begin][0] + gain, [*best[begin][1], chain]))
        best.append(max(options, key=lambda option: option[0]))
    return best[-1][1]


def _chain(links: Sequence[_Link], emit: Emit) -> tuple[float, Chain] | None:
    """The sites as one chain and the seconds that it saves for an image; None where it does not pay."""
    parts, room = emit.options.threads or 1, emit.target.l2 // 2
    if sum(link.weights for link in links) > room:
        return None
    alone = sum(link.seconds for link in links) / parts
    gain = _saved(links, emit)
    if gain <= WORTHWHILE * alone:
        return None
    walks = tuple(link.walk for link in links)
    spans = {s[2:] for part in shares(emit.batch, walks[-1].out, parts) for s in part}
    longest = max(last - first for first, last in spans)
    count = 1
    while True:  # as few strips as have room
        height = -(-longest // count)
        each = [rooms_of(walks, first, last, height) for first, last in spans]
        live = sum(link.row * max(r.live for r in rooms) for link, *rooms in zip(links, *each, strict=False))
        if live <= room:
            break
        if height == 1:
            return None
        count = max(count + 1, min(longest, count * live // (2 * room)))
    rooms = tuple(max(r.rows for r in column) for column in zip(*each, strict=True))
    chain = Chain(tuple(link.choice for link in links), walks, height, rooms)
    gain -= _taken(links, chain, emit) - alone
    return (gain, chain) if gain > WORTHWHILE * alone else None


def _saved(links: Sequence[_Link], emit: Emit) -> float:
    """Seconds for an image that sites one after the other would take beyond their own work."""
    target, parts, saved = emit.target, emit.options.threads or 1, 0.0
    for nbytes in [link.row * link.walk.out for link in links[:-1]]:
        if 2 * emit.batch * nbytes > target.l3:
            saved += 2 * MEMORY * nbytes
        elif parts == 1:
            saved += 2 * estimates.far(nbytes, target)
        else:
            saved += EXCHANGED * nbytes / parts
        saved += BARRIER * (parts > 1) / emit.batch
    weights = sum(link.weights for link in links)
    return saved - weights * (1 - 1 / parts) / WEIGHT_BYTES  # each part reads all weights


def _taken(links: Sequence[_Link], chain: Chain, emit: Emit) -> float:
    """Seconds for an image of the part of the team that has most to do."""
    most = 0.0
    for segments in shares(emit.batch, chain.walks[-1].out, emit.options.threads or 1):
        seconds = 0.0
        for begin, end, first, last in segments:
            for item in schedule(chain.walks, first, last, chain.height, chain.rooms):
                link, images = links[item.index], end - begin
                if isinstance(item, Compute):
                    share = (item.last - item.first) / link.walk.out
                    seconds += images * (link.seconds * share + TURN)
                else:
                    seconds += images * COPIED * item.count * link.row
        most = max(most, seconds)
    return most / emit.batch
