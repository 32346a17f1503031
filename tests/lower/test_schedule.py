"""Rows of a chain: each computed once, there when it is read, moved only where nothing is in the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nbcnn.kernels.rows import Walk
from nbcnn.lower.schedule import Compute, rooms_of, schedule
from nbcnn.lower.strips import shares

TALLEST = 40


@st.composite
def walks(draw: st.DrawFn) -> list[Walk]:
    """A chain of windows of which none lies in the padding alone."""
    found: list[Walk] = []
    size = draw(st.integers(1, TALLEST))
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride, dilation = (draw(st.integers(1, n)) for n in (5, 3, 3))
        before, after = (draw(st.integers(0, 4)) for _ in range(2))
        room = size + before + after - (kernel - 1) * dilation - 1
        if room < 0:
            kernel, room = 1, size + before + after - 1
        walk = Walk(size, room // stride + 1, kernel, stride, dilation, before, after)
        if not walk.meets:
            walk = Walk(size, size)
        found.append(walk)
        size = walk.out
    return found


def taps(walk: Walk, row: int) -> list[int]:
    """The rows under window ``row``, by definition."""
    at = (row * walk.stride - walk.before + k * walk.dilation for k in range(walk.kernel))
    return [r for r in at if 0 <= r < walk.size]


@given(walks(), st.data())
def test_a_part_of_a_walk_has_the_windows_of_the_whole(chain: list[Walk], data: st.DataObject) -> None:
    for walk in chain:
        first = data.draw(st.integers(0, walk.out - 1))
        last = data.draw(st.integers(first + 1, walk.out))
        low, high = walk.needs(first, last)
        part = walk.part(first, last)
        assert (part.size, part.out) == (high - low, last - first)
        for row in range(first, last):
            assert [low + r for r in taps(part, row - first)] == taps(walk, row)
        below = walk.size + walk.after - (low - part.before)
        assert part.padded == below, "windows end where the padding does"


def test_windows_that_lie_in_the_padding_are_known() -> None:
    assert Walk(5, 5, 3, before=1, after=1).meets
    assert not Walk(5, 7, 3, before=3, after=1).meets
    assert not Walk(5, 7, 3, before=1, after=3).meets
    assert not Walk(2, 3, 1, 1, 1, 0, 1).meets


@given(walks(), st.data())
def test_rows_are_computed_once_and_lie_where_they_are_read(chain: list[Walk], data: st.DataObject) -> None:
    out = chain[-1].out
    begin = data.draw(st.integers(0, out - 1))
    end = data.draw(st.integers(begin + 1, out))
    height = data.draw(st.integers(1, end - begin))
    rooms = rooms_of(chain, begin, end, height)
    buffers: list[dict[int, int]] = [{} for _ in rooms]  # place -> row
    computed: list[list[int]] = [[] for _ in chain]
    for item in schedule(chain, begin, end, height, [r.rows for r in rooms]):
        if not isinstance(item, Compute):
            moved = range(item.row, item.row + item.count)
            assert item.row >= item.count, "onto itself"
            rows = [buffers[item.index][place] for place in moved]
            buffers[item.index] = dict(enumerate(rows))
            continue
        walk, k = chain[item.index], item.index
        low, high = walk.needs(item.first, item.last)
        needed = {r for row in range(item.first, item.last) for r in taps(walk, row)}
        for place, row in enumerate(range(low, high), item.source):
            assert k == 0 or row not in needed or buffers[k - 1][place] == row
        assert k > 0 or item.source == low
        for place, row in enumerate(range(item.first, item.last), item.target):
            if k < len(rooms):
                assert place < rooms[k].rows
                buffers[k][place] = row
            else:
                assert place == row
        computed[k] += range(item.first, item.last)
    assert computed[-1] == list(range(begin, end))
    for rows, walk in zip(computed, chain, strict=True):
        assert rows == sorted(set(rows)), "twice"
        assert set(rows) <= set(range(walk.out))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_parts_share_all_rows_fairly(batch: int, rows: int, parts: int) -> None:
    found = shares(batch, rows, parts)
    cells = [
        [
            (image, row)
            for begin, end, first, last in part
            for image in range(begin, end)
            for row in range(first, last)
        ]
        for part in found
    ]
    assert [cell for part in cells for cell in part] == [(i, r) for i in range(batch) for r in range(rows)]
    assert max(map(len, cells)) - min(map(len, cells)) <= 1
    assert all(len(part) <= 3 for part in found)
