"""The memory planner: nothing alive together overlaps, and little is wasted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nbcnn.kernels.layouts import Buffer, round_up
from nbcnn.lower.memory import ALIGNMENT, arena_bytes, lifetimes, live_peak, place

SPANS = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 6)), min_size=1, max_size=25
)


@given(SPANS)
@settings(deadline=None)
def test_buffers_alive_together_do_not_overlap(spans: list[tuple[int, int, int]]) -> None:
    alive = {Buffer(str(i), size): (start, start + long) for i, (size, start, long) in enumerate(spans)}
    offsets = place(alive)
    for one in alive:
        assert offsets[one] % ALIGNMENT == 0
        for two in alive:
            together = alive[one][0] <= alive[two][1] and alive[two][0] <= alive[one][1]
            if one is not two and together and offsets[one] <= offsets[two]:
                assert offsets[one] + round_up(one.nbytes, ALIGNMENT) <= offsets[two]
    steps = max(last for _, last in alive.values()) + 1
    assert live_peak(alive, steps) <= arena_bytes(offsets) <= sum(round_up(b.nbytes, 64) for b in alive)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    a, b, c = (Buffer(n, size) for n, size in (("a", 640), ("b", 1280), ("c", 640)))
    spans = lifetimes([[a], [a, b], [b, c], [c]])
    assert spans == {a: (0, 1), b: (1, 2), c: (2, 3)}
    assert arena_bytes(place(spans)) == live_peak(spans, 4) == 1920


def test_kept_values_live_to_the_end() -> None:
    a, b = Buffer("a", 64), Buffer("b", 64)
    assert lifetimes([[a], [b], []], keep={a}) == {a: (0, 2), b: (1, 1)}
    assert arena_bytes(place(lifetimes([[a], [b], []], keep={a, b}))) == 128
