"""Copies between two orders of the same elements, from type to type: see ``simt/move.py``.

What pads the pixels of the result up to whole vectors is written too, as zeros. Elements that keep their
type are copied in words as wide as their places allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nbcnn.kernels.base import Emit
from nbcnn.kernels.cuda.base import numbers, plain_step, simt, stored
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.layouts import PLAIN, Address, Layout, View, round_up
from nbcnn.kernels.orders import Axis, merged
from nbcnn.kernels.steps import DeviceStep
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

MOVE_LOOPS, TURN_LOOPS, WEAVE_LOOPS = 6, 4, 4
"""The most axes that each kernel counts."""

WOVEN = 4
"""Neighbours that a thread writes at once."""

REACH = 1 << 31
"""Elements that a launch may reach over."""

TILE = 32
"""Rows and columns of a tile in shared memory."""

PIXELS4 = 4
"""Elements of a pixel in the layout ``pixels4``."""

WORDS = {1: "b8", 2: "b16", 4: "b32", 8: "b64"}
ARRAYS = {"b8": "u8", "b16": "bf16", "b32": "i32", "b64": "i64"}
"""Words by bytes; the arrays that they are elements of."""


@dataclass(frozen=True)
class Nest:
    """Loops in order of the target, and where they begin: elements from the beginning of each buffer.

    The last loop is filled up with zeros to ``wide`` elements, unless that is 0.
    """

    loops: tuple[Axis, ...]
    starts: tuple[int, int]
    wide: int = 0

    @property
    def extents(self) -> tuple[int, ...]:
        """How often each loop writes."""
        extents = [a.extent for a in self.loops]
        return (*extents[:-1], *(max(e, self.wide) for e in extents[-1:]))


def padded(layout: Layout, target: CudaTarget) -> int:
    """Channels of a pixel with those that pad it."""
    c = layout.image[0]  # type: ignore[index]
    return PIXELS4 if layout.kind == "pixels4" else round_up(c, target.lanes)


def move(
    site: str,
    source: View,
    target: View,
    axes: Sequence[Axis],
    emit: Emit[CudaTarget],
    offsets: tuple[int, int] = (0, 0),
    conversion: bool = False,
) -> list[DeviceStep]:
    """The steps that copy floats along ``axes``, ``offsets`` elements into the views."""
    if not all(axis.extent for axis in axes):
        return []
    views = source, target
    nest = Nest(tuple(merged(axes)), (source.offset + offsets[0], target.offset + offsets[1]))
    kinds = (stored(source, emit.target), stored(target, emit.target))
    if kinds[0] == kinds[1]:
        kinds = _words(source.size)
    steps: list[DeviceStep] = []
    for each in _with_pads(nest, target, offsets[1], emit.target):
        steps += _steps(site, views, each, kinds, emit, conversion)
    return steps


def copy(
    site: str, source: View, target: View, nbytes: int, emit: Emit[CudaTarget], conversion: bool = False
) -> list[DeviceStep]:
    """The steps that copy ``nbytes`` of any type from the beginning of one view to that of the other."""
    if not nbytes:
        return []
    size = next(n for n in (4, 2, 1) if nbytes % n == 0)
    views = (replace(source, size=size), replace(target, size=size))
    starts = (source.offset * source.size // size, target.offset * target.size // size)
    nest = Nest((Axis(nbytes // size, 1, 1),), starts)
    return _steps(site, views, nest, _words(size), emit, conversion)


def _with_pads(nest: Nest, view: View, offset: int, target: CudaTarget) -> list[Nest]:
    """``nest`` so that it fills the pixels that it ends, or with another one that does."""
    more = 0 if view.layout == PLAIN else padded(view.layout, target) - view.layout.image[0]  # type: ignore[index]
    first = offset % view.pitch if more else 0
    channels = [a for a in nest.loops if a.target < view.pitch]
    count = 1 + sum((a.extent - 1) * a.target for a in channels)
    if not more or first + count < view.layout.image[0]:  # type: ignore[index]
        return [nest]
    if not channels:
        return [replace(nest, loops=(*nest.loops, Axis(1, 0, 1)), wide=1 + more)]
    if len(channels) == 1 and channels[0].target == 1:
        return [replace(nest, wide=count + more)]
    pixels = tuple(a for a in nest.loops if a not in channels)
    source, to = nest.starts
    return [nest, Nest((*pixels, Axis(0, 0, 1)), (source, to + count), more)]


def _steps(
    site: str,
    views: tuple[View, View],
    nest: Nest,
    kinds: tuple[str, str],
    emit: Emit[CudaTarget],
    conversion: bool,
) -> list[DeviceStep]:
    sizes = views[0].size, views[1].size
    source, aligned = (v.buffer.place in ("arena", "constant") for v in views)  # the caller's begin anywhere
    if kinds[0] in ARRAYS and source and aligned:
        nest, size = _widened(nest, sizes[0])
        kinds, sizes = _words(size), (size, size)
    steps = []
    for part in _parts(nest):
        back = sum((a.extent - 1) * -a.source for a in part.loops if a.source < 0)
        places = (part.starts[0] - back, part.starts[1])
        call = _turn(part, kinds, emit.target) or (_weave(part, kinds, emit.target) if aligned else None)
        kernel, units, args = call or _move(part, kinds, emit.target)
        addresses = (Address(v.buffer, size * at) for v, size, at in zip(views, sizes, places, strict=True))
        nbytes = sum(sizes) * math.prod(part.extents)
        args = (*addresses, back, *args)
        steps.append(plain_step(site, kernel, emit.target, units, args, nbytes=nbytes, conversion=conversion))
    return steps


def _widened(nest: Nest, size: int) -> tuple[Nest, int]:
    """The same copy in words of 8 bytes, else 4 where their places allow."""
    *outer, last = nest.loops or (Axis(1, 1, 1),)
    numbers = [last.extent, nest.wide, *nest.starts, *(s for a in outer for s in (a.source, a.target))]
    for wider in (8, 4):
        times = wider // size
        if times > 1 and last.source == last.target == 1 and not any(n % times for n in numbers):
            loops = tuple(Axis(a.extent, a.source // times, a.target // times) for a in outer)
            starts = (nest.starts[0] // times, nest.starts[1] // times)
            return Nest((*loops, Axis(last.extent // times, 1, 1)), starts, nest.wide // times), wider
    return nest, size


def _parts(nest: Nest) -> Iterator[Nest]:
    """``nest`` in parts that the kernels can count: few loops, few elements, none far from the first."""
    loops, extents, (a, b) = nest.loops, nest.extents, nest.starts
    outer = range(len(loops) - 1 if nest.wide else len(loops))
    if len(loops) > MOVE_LOOPS:
        chosen, count = min(outer, key=lambda k: extents[k]), 1
    elif math.prod(extents) >= LIMIT or max(_reach(nest)) >= REACH:
        chosen = max(outer, key=lambda k: extents[k] * max(abs(loops[k].source), loops[k].target))
        count = -(-extents[chosen] // 2)
    else:
        yield nest if loops else replace(nest, loops=(Axis(1, 1, 1),))
        return
    axis = loops[chosen]
    for first in range(0, axis.extent, count):
        some = min(count, axis.extent - first)
        left = (replace(axis, extent=some),) if some > 1 else ()
        starts = (a + first * axis.source, b + first * axis.target)
        yield from _parts(Nest((*loops[:chosen], *left, *loops[chosen + 1 :]), starts, nest.wide))


def _reach(nest: Nest) -> tuple[int, int]:
    """How many elements of source and target lie between the first and the last that are touched."""
    pairs = list(zip(nest.loops, nest.extents, strict=True))
    return (
        sum((axis.extent - 1) * abs(axis.source) for axis, _ in pairs),
        sum((extent - 1) * axis.target for axis, extent in pairs),
    )


def _words(size: int) -> tuple[str, str]:
    """The kinds of a copy of words."""
    return WORDS[size], WORDS[size]


Call = tuple[Simt, int, tuple[int, ...]]
"""A kernel, its units of work, and its arguments behind source, target and start."""


def _move(nest: Nest, kinds: tuple[str, str], target: CudaTarget) -> Call:
    """An element at a time."""
    extents, total = nest.extents, math.prod(nest.extents)
    valid = nest.loops[-1].extent if nest.wide else extents[-1]
    params = (*_arrays(kinds), *numbers("start total valid"), *_counters(MOVE_LOOPS))
    kernel = simt(
        *("move", "make_move", f"{_label(kinds)}_move{len(extents)}", params, target),
        **{"SOURCE": kinds[0], "TARGET": kinds[1], "LOOPS": len(extents)},
    )
    return kernel, total, (total, valid, *_counted(nest.loops, extents, MOVE_LOOPS))


def _weave(nest: Nest, kinds: tuple[str, str], target: CudaTarget) -> Call | None:
    """Four neighbours of the target at a time, where they lie apart in the source; it must be aligned."""
    source, to = ({"b32": "f32"}.get(k, k) for k in kinds)
    *outer, last = nest.loops
    count = nest.extents[-1]
    places = [count, nest.starts[1], *(a.target for a in outer)]
    if source in ARRAYS or len(nest.loops) > WEAVE_LOOPS or last.target != 1 or last.source == 1:
        return None
    if any(n % WOVEN for n in places):
        return None
    groups = count // WOVEN
    loops = (*outer, Axis(groups, WOVEN * last.source, WOVEN))
    extents = (*nest.extents[:-1], groups)
    total = math.prod(extents)
    params = (*_arrays((source, to)), *numbers("start total valid apart"), *_counters(WEAVE_LOOPS))
    kernel = simt(
        *("move", "make_weave", f"{_label((source, to))}_weave{len(loops)}", params, target),
        **{"SOURCE": source, "TARGET": to, "LOOPS": len(loops)},
    )
    return kernel, total, (total, last.extent, last.source, *_counted(loops, extents, WEAVE_LOOPS))


def _turn(nest: Nest, kinds: tuple[str, str], target: CudaTarget) -> Call | None:
    """Tiles of rows and columns, where both are long enough."""
    tile = min(TILE, target.threads)
    *rest, last = nest.loops
    rows = next((a for a in rest if a.source == 1), None)
    wide = max(last.extent, nest.wide)
    if rows is None or last.target != 1 or min(rows.extent, wide) <= tile // 4 or len(rest) > 1 + TURN_LOOPS:
        return None
    outer = tuple(a for a in rest if a is not rows)
    across, down = -(-rows.extent // tile), -(-wide // tile)
    tiles = across * down * math.prod(a.extent for a in outer)
    params = (
        *_arrays(kinds),
        *numbers("start tiles nu nv wide row column across fa ha down fd hd"),
        *_counters(TURN_LOOPS),
    )
    kernel = simt(
        *("move", "make_turn", f"{_label(kinds)}_turn{len(outer)}", params, target),
        **{"SOURCE": kinds[0], "TARGET": kinds[1], "LOOPS": len(outer)},
        **{"TILE": tile, "THREADS": target.threads},
    )
    args = (
        *(tiles, rows.extent, last.extent, wide, last.source, rows.target),
        *(across, *reciprocal(across), down, *reciprocal(down)),
        *_counted(outer, tuple(a.extent for a in outer), TURN_LOOPS),
    )
    return kernel, tiles * target.threads, args


def _arrays(kinds: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((n, f"{ARRAYS.get(k, k)}[]") for n, k in zip(("source", "target"), kinds, strict=True))


def _counters(loops: int) -> tuple[tuple[str, str], ...]:
    return numbers(" ".join(f"n{k} f{k} h{k} a{k} b{k}" for k in range(loops)))


def _counted(loops: Sequence[Axis], extents: Sequence[int], most: int) -> tuple[int, ...]:
    """Five numbers for each of ``most`` axes, fastest first; those that there are not have only zeros."""
    words: list[int] = []
    for place, (axis, extent) in enumerate(zip(loops, extents, strict=True)):
        divided = (extent, *reciprocal(extent)) if place else (0, 0, 0)
        words[:0] = [*divided, axis.source, axis.target]
    return (*words, *(0,) * (5 * most - len(words)))


def _label(kinds: tuple[str, str]) -> str:
    return kinds[0] if kinds[0] == kinds[1] else f"{kinds[0]}_{kinds[1]}"
