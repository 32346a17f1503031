"""Which kernel each site gets, so that kernels and the conversions between their layouts cost least together.

Most kernels read and write pixels (NHWC), some whole channels (``planes``). Where a site has both kinds of
offers, taking the cheaper one may need conversions of what it reads and writes. With one choice of two for
each site, the least sum is a minimum cut (D. Greig, B. Porteous, A. Seheult, "Exact maximum a posteriori
estimation for binary images", 1989).
"""

from __future__ import annotations

import networkx as nx

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Layout, Site
from nbcnn.lower.select import Choice, Contest, Offer

CONVERTED = 25e9
"""Bytes that a conversion reads and writes in a second."""

INDIFFERENT = 1e-9
"""Seconds by which whole channels must be faster at a site to be taken there."""

Pair = tuple[Offer, Offer]
"""The cheapest offers that read pixels and whole channels; one and the same where there is one kind."""


def assign(contests: list[Contest]) -> list[Choice]:
    """The choice of each contest, in order."""
    pairs = {c.site.name: _pair(c) for c in contests}
    if not any(offer.kernel.on_trial for c in contests for offer in c.offers):  # nothing gains by channels
        return [c.won_by(pairs[c.site.name][0]) for c in contests]
    makers = {value: c.site for c in contests for value in c.site.outputs}
    cut = nx.DiGraph()
    for contest in contests:
        site, pair = contest.site, pairs[contest.site.name]
        _pay(cut, site.name, pair[0].seconds, pair[1].seconds)
        for slot, value in enumerate(site.data):
            reads = [offer.kernel.reads(site)[slot] for offer in pair]
            maker = makers.get(value)
            if maker is None:
                continue
            writes = [_writes(maker, offer, value) for offer in pairs[maker.name]]
            _join(cut, maker.name, site.name, writes, reads, site.in_types[slot])
    _, (pixels, _) = nx.minimum_cut(cut, SOURCE, SINK)
    return [c.won_by(pairs[c.site.name][c.site.name not in pixels]) for c in contests]


SOURCE, SINK = 0, 1
"""Ends of the cut: no site bears a number."""


def _pair(contest: Contest) -> Pair:
    best: list[Offer | None] = [None, None]
    for offer in sorted(contest.offers, key=lambda o: o.seconds):
        kind = any(layout.kind == "planes" for layout in offer.kernel.reads(contest.site))
        best[kind] = best[kind] or offer
    alone = contest.cheapest
    return best[0] or alone, best[1] or alone


def _writes(site: Site, offer: Offer, value: str) -> Layout:
    """The layout in which ``offer`` makes ``value``."""
    kernel = offer.kernel
    return kernel.writes(site, kernel.reads(site))[site.outputs.index(value)]


def _pay(cut: nx.DiGraph, site: str, pixels: float, channels: float) -> None:
    """Add what ``site`` costs with the one and the other offer."""
    channels += INDIFFERENT
    least = min(pixels, channels)  # a constant decides nothing, and capacities are not negative
    _add(cut, SOURCE, site, channels - least)
    _add(cut, site, SINK, pixels - least)


def _join(
    cut: nx.DiGraph, maker: str, reader: str, writes: list[Layout], reads: list[Layout], type_: TensorType
) -> None:
    """Add what converting a value costs for each of the four ways to choose its maker and its reader."""
    seconds = 2 * type_.nbytes() / CONVERTED
    both, up, down, none = (seconds * (w.kind != r.kind) for w in writes for r in reads)
    # E(x, y) = both + (down - both) x + (none - down) y + (up + down - both - none) (1 - x) y
    _pay(cut, maker, 0.0, down - both)
    _pay(cut, reader, 0.0, none - down)
    _add(cut, maker, reader, up + down - both - none)


def _add(cut: nx.DiGraph, a: int | str, b: int | str, capacity: float) -> None:
    if cut.has_edge(a, b):
        capacity += cut.edges[a, b]["capacity"]
    cut.add_edge(a, b, capacity=capacity)
