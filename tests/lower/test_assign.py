"""The assignment of kernels by minimum cut costs as little as any other: against all of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbcnn.ir import TensorType
from nbcnn.kernels.base import Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, nhwc, planes
from nbcnn.lower import assign
from nbcnn.lower.select import Choice, Contest, Offer
from nbcnn.ops.activation import Relu

TYPE = TensorType(("N", 8, 32, 32))
CONVERSION = 2 * TYPE.nbytes() / assign.CONVERTED

LAYOUTS = {"plain": PLAIN, "nhwc": nhwc(TYPE), "planes": planes(TYPE), "halo": Layout("halo", (8, 32, 32))}


@dataclass(frozen=True, eq=False)
class Fake(Kernel):
    """A kernel that wants every operand as ``wants``, takes those ``also``, and writes ``gives``."""

    wants: str
    gives: str
    also: tuple[str, ...] = ()
    name = "fake"
    on_trial = True

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (LAYOUTS[self.wants],) * len(site.data)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        return layout.kind in (self.wants, *self.also)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (LAYOUTS[self.gives],) * len(site.outputs)


PIXELS, CHANNELS, TO_PIXELS = Fake("nhwc", "nhwc"), Fake("planes", "planes"), Fake("planes", "nhwc")
INSIDE_BORDER = Fake("halo", "nhwc")


def contest(name: str, data: tuple[str, ...], *offers: tuple[Kernel, float]) -> Contest:
    site = Site(name, Relu(), data, (), (name,), (TYPE,) * len(data), (TYPE,))
    return Contest(site, tuple(Offer(kernel, seconds) for kernel, seconds in offers), ())


def chain(*sites: tuple[tuple[Kernel, float], ...]) -> list[Contest]:
    """Sites named 0, 1, ... of which each reads the one before."""
    return [contest(str(i), (str(i - 1) if i else "x",), *offers) for i, offers in enumerate(sites)]


def cost(choices: list[Choice]) -> float:
    """Seconds of the kernels, and of conversions: a value is converted once to each layout that is wanted."""
    written = {v: c.kernel.writes(c.site, ())[0] for c in choices for v in c.site.outputs}
    converted = set()
    for choice in choices:
        for slot, value in enumerate(choice.site.data):
            if not choice.kernel.accepts(choice.site, slot, written.get(value, PLAIN)):
                converted.add((value, choice.kernel.reads(choice.site)[slot]))
    return sum(c.seconds for c in choices) + CONVERSION * len(converted)


def kernels(choices: list[Choice]) -> list[Kernel]:
    return [choice.kernel for choice in choices]


@st.composite
def any_contests(draw) -> list[Contest]:
    """Up to seven sites of one to three operands; offers of one kind or of both, some of mixed layouts."""
    seconds = st.floats(0.1, 4).map(lambda share: share * CONVERSION)
    also = draw(st.sampled_from([(), ("plain",)]))
    found: list[Contest] = []
    for number in range(draw(st.integers(1, 7))):
        values = ["x", "y", *(str(i) for i in range(number))]
        data = tuple(draw(st.lists(st.sampled_from(values[-4:]), min_size=1, max_size=3)))
        gives = draw(st.sampled_from(["nhwc", "nhwc", "plain"]))
        pixels = Fake(draw(st.sampled_from(["nhwc", "nhwc", "plain", "halo"])), gives, also)
        channels = Fake("planes", draw(st.sampled_from(["planes", "planes", gives])))
        offers = draw(st.sampled_from([(pixels, channels)] * 4 + [(pixels,), (channels,)]))
        found.append(contest(str(number), data, *((kernel, draw(seconds)) for kernel in offers)))
    return found


@given(any_contests())
@settings(deadline=None, max_examples=300)
def test_no_other_choice_costs_less(contests: list[Contest]) -> None:
    everything = product(*([c.won_by(offer) for offer in c.offers] for c in contests))
    least = min(cost(list(choices)) for choices in everything)
    found = assign.assign(contests)
    assert [c.site for c in found] == [c.site for c in contests]
    assert cost(found) <= least + assign.INDIFFERENT * len(contests) + 1e-6 * CONVERSION


def test_pixels_where_nothing_is_gained() -> None:
    contests = chain(*[((PIXELS, 1e-3), (CHANNELS, 1e-3))] * 4)
    assert kernels(assign.assign(contests)) == [PIXELS] * 4


@pytest.mark.parametrize("gain, taken", [(0.9, PIXELS), (1.1, CHANNELS)])
def test_a_region_pays_for_its_borders(gain: float, taken: Kernel) -> None:
    """Two sites that would be faster by channels, between two that cannot: conversions on both sides."""
    each = 1e-3 + gain * CONVERSION
    contests = chain(((PIXELS, 1e-3),), *[((PIXELS, each), (CHANNELS, 1e-3))] * 2, ((PIXELS, 1e-3),))
    assert kernels(assign.assign(contests)) == [PIXELS, taken, taken, PIXELS]


def test_a_slower_kernel_spares_two_conversions() -> None:
    fast, slow = 1e-3, 1e-3 + 1.5 * CONVERSION
    contests = chain(((CHANNELS, fast),), ((PIXELS, fast), (CHANNELS, slow)), ((CHANNELS, fast),))
    assert kernels(assign.assign(contests)) == [CHANNELS] * 3


@pytest.mark.parametrize("gain, taken", [(0.9, PIXELS), (1.1, TO_PIXELS)])
def test_a_kernel_from_channels_to_pixels_pays_on_one_side(gain: float, taken: Kernel) -> None:
    contests = chain(
        ((PIXELS, 1e-3),), ((PIXELS, 1e-3 + gain * CONVERSION), (TO_PIXELS, 1e-3)), ((PIXELS, 1e-3),)
    )
    assert kernels(assign.assign(contests)) == [PIXELS, taken, PIXELS]


@pytest.mark.parametrize("gain, taken", [(0.9, PIXELS), (1.1, CHANNELS)])
def test_readers_of_one_value_share_its_conversion(gain: float, taken: Kernel) -> None:
    """Three that would be faster by channels, each by a third of ``gain``; their results go nowhere."""
    offers = ((PIXELS, 1e-3 + gain * CONVERSION / 3), (CHANNELS, 1e-3))
    contests = [contest("a", ("x",), (PIXELS, 1e-3)), *(contest(n, ("a",), *offers) for n in "bcd")]
    assert kernels(assign.assign(contests)) == [PIXELS, taken, taken, taken]


def test_the_cheapest_of_each_kind_and_all_that_lost() -> None:
    costly = Fake("planes", "planes")
    (choice,) = assign.assign([contest("a", ("x",), (PIXELS, 3e-3), (costly, 2e-3), (CHANNELS, 1e-3))])
    assert choice.kernel is CHANNELS and choice.seconds == 1e-3
    assert sorted(c.seconds or 0 for c in choice.candidates) == [2e-3, 3e-3]


def test_sites_that_no_kernel_serves_are_left_to_the_reference() -> None:
    contests = [
        contest("a", ("x",), (CHANNELS, 1e-3)),
        contest("b", ("a",)),
        contest("c", ("b",), (PIXELS, 1.0)),
    ]
    assert [c.kernel.name for c in assign.assign(contests)] == ["fake", "reference", "fake"]


@pytest.mark.parametrize("gain, taken", [(1.9, PIXELS), (2.5, INSIDE_BORDER)])
def test_a_border_costs_two_conversions_inside_a_network(gain: float, taken: Kernel) -> None:
    """Inputs of the graph are converted whatever reads them; computed values only for a border."""
    offers = ((PIXELS, 1e-3 + gain * CONVERSION), (INSIDE_BORDER, 1e-3))
    assert kernels(assign.assign(chain(offers, offers))) == [INSIDE_BORDER, taken]
