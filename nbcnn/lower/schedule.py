"""In which order rows of a chain of values are computed, strip by strip, and where they lie meanwhile.

Value k of a chain is read by site k + 1 alone. Its rows lie in a buffer of ``rooms[k]`` rows. Windows of
neighbouring strips overlap: rows that are needed again stay, and go to the start of the buffer when its end
is reached, so that no row is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbcnn.kernels.rows import Walk


@dataclass(frozen=True)
class Compute:
    """Site ``index`` computes rows [first, last) of its result.

    ``source`` is the place, in rows, of what it reads first, ``target`` of what it writes first: in the
    buffers of their values, or in the image for the operand of the first site and the result of the last.
    """

    index: int
    first: int
    last: int
    source: int
    target: int


@dataclass(frozen=True)
class Move:
    """``count`` rows of value ``index``, from row ``row`` of its buffer on, go to its start."""

    index: int
    row: int
    count: int


@dataclass(frozen=True)
class _Turn:
    """Of a value, in one strip: the rows [first, last) that are needed, new from ``new`` on."""

    first: int
    new: int
    last: int


def schedule(
    walks: Sequence[Walk], begin: int, end: int, height: int, rooms: Sequence[int]
) -> Iterator[Compute | Move]:
    """Rows [begin, end) of the last of the ``walks``, ``height`` at a time."""
    start = [0] * len(walks)
    for turns in _strips(walks, begin, end, height):
        for index, (walk, turn) in enumerate(zip(walks, turns, strict=True)):
            if turn.new == turn.last:
                continue
            last = index == len(walks) - 1
            if not last and (turn.first == turn.new or turn.last - start[index] > rooms[index]):
                if turn.first < turn.new:
                    yield Move(index, turn.first - start[index], turn.new - turn.first)
                start[index] = turn.first
            assert last or turn.last - start[index] <= rooms[index], "the buffer is too small"
            source, _ = walk.needs(turn.new, turn.last)
            from_, to = start[index - 1] if index else 0, 0 if last else start[index]
            yield Compute(index, turn.new, turn.last, source - from_, turn.new - to)


@dataclass(frozen=True)
class Room:
    """Rows of a value between two sites: ``live`` in one strip at most, ``rows`` of the buffer for it.

    Twice what a strip needs where some of it stays for the next: then rows are moved every second strip, and
    never onto themselves.
    """

    live: int
    rows: int


def rooms_of(walks: Sequence[Walk], begin: int, end: int, height: int) -> list[Room]:
    """The room that each value but the last takes."""
    strips = list(_strips(walks, begin, end, height))
    found = []
    for index in range(len(walks) - 1):
        turns = [turns[index] for turns in strips]
        live = max(t.last - t.first for t in turns)
        stays = any(t.first < t.new for t in turns)
        found.append(Room(live, min(2 * live, turns[-1].last - turns[0].first) if stays else live))
    return found


def _strips(walks: Sequence[Walk], begin: int, end: int, height: int) -> Iterator[list[_Turn]]:
    """The turns of all values in each strip."""
    done = [0] * len(walks)
    for first in range(begin, end, height):
        turn = _Turn(first, first, min(first + height, end))
        turns = [turn]
        for index in range(len(walks) - 2, -1, -1):
            if turn.new == turn.last:
                turn = _Turn(done[index], done[index], done[index])
            else:
                low, high = walks[index + 1].needs(turn.new, turn.last)
                new = max(low, done[index])
                turn = _Turn(low, new, max(new, high))
            turns.insert(0, turn)
        done = [turn.last for turn in turns]
        yield turns
