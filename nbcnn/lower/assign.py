"""Which kernel each site gets, so that kernels and the conversions between their layouts cost least together.

Most kernels read and write pixels (NHWC), some whole channels (``planes``). Where a site has both kinds of
offers, taking the cheaper one may need conversions of what it reads and writes. With one choice of two for
each site, the least sum is a minimum cut (D. Greig, B. Porteous, A. Seheult, "Exact maximum a posteriori
estimation for binary images", 1989).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

import networkx as nx

from nbcnn.kernels.base import Site
from nbcnn.kernels.cpu.estimates import CALL
from nbcnn.kernels.layouts import PLAIN, Layout
from nbcnn.lower.select import Choice, Contest, Offer, of_channels

CONVERTED = 25e9
"""Bytes that a conversion reads and writes in a second."""

UNWRITTEN = ("halo", "pixels4")
"""Layouts of first layers' operands, which conversions alone write."""

INDIFFERENT = 1e-9
"""Seconds by which whole channels must be faster at a site to be taken there."""

Pair = tuple[Offer, Offer]
"""The cheapest offers that read pixels and whole channels; one and the same where there is one kind."""

Wanting = tuple[set[str], set[str]]
"""Sites that want a layout with their offers for pixels, and with those for whole channels."""

SOURCE, SINK = 0, 1
"""Ends of the cut: sites beside the sink take whole channels. No site bears a number."""


def estimated(nbytes: int) -> float:
    """Seconds that it takes to convert a value of so many bytes, on one thread."""
    return 2 * nbytes / CONVERTED


def assign(contests: list[Contest], conversion: Callable[[int], float] = estimated) -> list[Choice]:
    """The choice of each contest, in order; ``conversion`` is the seconds of converting so many bytes."""
    made = {value for c in contests for value in c.site.outputs}
    pairs = {c.site.name: _pair(c, made, conversion) for c in contests}
    if all(pixels is channels for pixels, channels in pairs.values()):
        return [c.won_by(pairs[c.site.name][0]) for c in contests]
    cut = nx.DiGraph()
    cut.add_nodes_from((SOURCE, SINK))
    readers: dict[str, list[tuple[Site, int]]] = defaultdict(list)
    for contest in contests:
        site, (pixels, channels) = contest.site, pairs[contest.site.name]
        if pixels is not channels:
            _charge(cut, site.name, channels.seconds - pixels.seconds + INDIFFERENT)
        for slot, value in enumerate(site.data):
            readers[value].append((site, slot))
    makers = {value: c.site for c in contests for value in c.site.outputs}
    for value, found in readers.items():
        _convert(cut, value, makers.get(value), found, pairs, conversion)
    _, (_, channels) = nx.minimum_cut(cut, SOURCE, SINK)
    return [c.won_by(pairs[c.site.name][c.site.name in channels]) for c in contests]


def _pair(contest: Contest, made: set[str], conversion: Callable[[int], float]) -> Pair:
    """The cheapest offer of either kind; ``made`` are the values that sites compute."""
    best: list[Offer | None] = [None, None]

    def whole(offer: Offer) -> float:
        return offer.seconds + _detour(contest.site, offer, made, conversion)

    for offer in sorted(contest.offers, key=whole):
        kind = of_channels(contest.site, offer.kernel)
        best[kind] = best[kind] or offer
    alone = best[0] or best[1] or contest.cheapest  # the reference, where there is neither
    return best[0] or alone, best[1] or alone


def _detour(site: Site, offer: Offer, made: set[str], conversion: Callable[[int], float]) -> float:
    """Seconds of bringing computed values into a layout that no kernel writes: two steps, over plain."""
    reads = zip(site.data, site.in_types, offer.kernel.reads(site), strict=True)
    sizes = [type_.nbytes() for value, type_, layout in reads if layout.kind in UNWRITTEN and value in made]
    return sum(2 * (CALL + conversion(nbytes)) for nbytes in sizes)


def _convert(
    cut: nx.DiGraph,
    value: str,
    maker: Site | None,
    readers: list[tuple[Site, int]],
    pairs: dict[str, Pair],
    conversion: Callable[[int], float],
) -> None:
    """Add what converting a value costs: once for each layout that is read and not written.

    A layout that only readers of pixels want, and that its maker writes with its offer for channels only, or
    the other way round, is charged whatever its maker takes: a cut cannot say it. No kernels are like that.
    """
    writes = (PLAIN, PLAIN)  # inputs of the graph, and constants
    if maker is not None:
        writes = tuple(_writes(maker, offer, value) for offer in pairs[maker.name])
    wanted: dict[tuple[str, tuple[bool, ...]], Wanting] = defaultdict(lambda: (set(), set()))
    for site, slot in readers:
        for side, offer in enumerate(pairs[site.name]):
            kernel, layout = offer.kernel, offer.kernel.reads(site)[slot]
            served = tuple(w.kind == layout.kind or kernel.accepts(site, slot, w) for w in writes)
            wanted[layout.kind, served][side].add(site.name)
    site, slot = readers[0]
    seconds = conversion(site.in_types[slot].nbytes())
    for (kind, served), (by_pixels, by_channels) in wanted.items():
        if all(served):
            continue
        above = maker.name if maker and served == (False, True) else SOURCE
        below = maker.name if maker and served == (True, False) else SINK
        if by_pixels & by_channels:  # some reader wants it with either offer
            _join(cut, above, below, seconds)
            continue
        some: Hashable
        if by_pixels:
            some = (value, kind, served, "pixels")  # beside the source if any of these readers is
            _join(cut, some, below, seconds)
            for name in by_pixels:
                _join(cut, name, some, seconds)
        if by_channels:
            some = (value, kind, served, "channels")
            _join(cut, above, some, seconds)
            for name in by_channels:
                _join(cut, some, name, seconds)


def _writes(site: Site, offer: Offer, value: str) -> Layout:
    """The layout in which ``offer`` makes ``value``."""
    kernel = offer.kernel
    return kernel.writes(site, kernel.reads(site))[site.outputs.index(value)]


def _charge(cut: nx.DiGraph, site: str, seconds: float) -> None:
    """Add what whole channels cost more than pixels at ``site``."""
    _join(cut, *((SOURCE, site) if seconds > 0 else (site, SINK)), abs(seconds))


def _join(cut: nx.DiGraph, pixels: Hashable, channels: Hashable, seconds: float) -> None:
    """Add what it costs that the one node stands beside the source and the other beside the sink."""
    if cut.has_edge(pixels, channels):
        seconds += cut.edges[pixels, channels]["capacity"]
    cut.add_edge(pixels, channels, capacity=seconds)
