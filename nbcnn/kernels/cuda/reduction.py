"""Steps of a reduction: ``simt/reduce.py``, once, or twice where there are few results of many elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nbcnn.errors import NbcnnError
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import BLOCKS, numbers, plain_step, simt, stored
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.layouts import F32, PLAIN, Address, Buffer, View, round_up
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget

MOST_KEPT, MOST_REDUCED = 6, 3
"""Axes that the kernel counts."""

SIDE_BY_SIDE = 32
"""Neighbouring results that threads of a block compute at least, where those lie side by side."""

WORK = 16
"""Elements that are worth a thread's while where a reduction is shared by several blocks."""


@dataclass(frozen=True)
class How:
    """What is joined for an element, how, and the activation that makes it the result; as in the kernel.

    A ``mean`` is scaled at last.
    """

    join: str
    term: str = "same"
    end: str = "none"
    mean: bool = False

    @property
    def label(self) -> str:
        """A word for the kernel's name."""
        return "_".join(word for word in (self.term, self.join, self.end) if word not in ("same", "none"))


MAX, MEAN = How("max"), How("sum", mean=True)


@dataclass(frozen=True)
class Reduction:
    """One launch: ``parts`` of each result, which lie ``apart``.

    ``kinds`` and ``places`` are those of source and target. Of the last of the axes that stay, the fastest,
    ``valid`` elements are no padding. ``across`` tells that they follow each other in the source.
    """

    kinds: tuple[str, str]
    places: tuple[Address, Address]
    how: How
    scale: float
    kept: Sequence[Axis]
    valid: int
    reduced: Sequence[Axis]
    across: bool
    parts: int = 1
    apart: int = 0

    @property
    def count(self) -> int:
        """Elements of a result."""
        return math.prod(a.extent for a in self.reduced)

    @property
    def results(self) -> int:
        return math.prod(a.extent for a in self.kept)

    @property
    def length(self) -> int:
        """Elements of a part."""
        return -(-self.count // self.parts)

    def step(self, site: Site, target: CudaTarget, nbytes: int) -> DeviceStep:
        """The launch."""
        outputs, axes = target.threads // team_of(self.length, self.across, target), max(len(self.reduced), 1)
        way = f"{outputs}{'across' if self.across else 'along'}{axes}"
        label = f"{'_'.join(self.kinds)}_{self.how.label}_{way}"
        params = (
            *(("source", f"{self.kinds[0]}[]"), ("target", f"{self.kinds[1]}[]")),
            *(*numbers("results valid count parts length apart"), ("scale", "f32"), *KEPT, *REDUCED),
        )
        kernel = simt(
            *("reduce", "make", label, params, target),
            **{"TERM": self.how.term, "JOIN": self.how.join, "END": self.how.end},
            **{"SOURCE": self.kinds[0], "TARGET": self.kinds[1], "ACROSS": self.across, "AXES": axes},
            **{"OUTPUTS": outputs, "THREADS": target.threads},
        )
        args = (
            *(*self.places, self.results, self.valid, self.count),
            *(self.parts, self.length, self.apart, self.scale),
            *kept_words(self.kept),
            *reduced_words(self.reduced),
        )
        units = -(-self.results // outputs) * target.threads
        return plain_step(site.name, kernel, target, units, args, rows=self.parts, nbytes=nbytes)


def reduction_steps(
    site: Site,
    source: View,
    target: View,
    how: How,
    kept: Sequence[Axis],
    reduced: Sequence[Axis],
    across: bool,
    emit: Emit[CudaTarget],
) -> list[DeviceStep]:
    """The steps that reduce ``reduced`` for each place along ``kept``, both with the fastest axis last.

    In pixels the last kept axis must be their channels; those that pad the target become 0. Raises NbcnnError
    for more elements than are counted in 30 bits.
    """
    here = emit.target
    kept = [*(a for a in kept[:-1] if a.extent > 1), *kept[-1:]] or [Axis(1, 1, 1)]
    valid = kept[-1].extent
    read = source.size * math.prod(a.extent for a in (*kept, *reduced))
    if target.layout != PLAIN:
        kept = [*kept[:-1], replace(kept[-1], extent=round_up(valid, here.lanes))]
    kinds, places = (stored(source, here), stored(target, here)), (source.address, target.address)
    whole = Reduction(kinds, places, how, 1.0, kept, valid, reduced, across)
    if max(whole.count, whole.results) > LIMIT:
        raise NbcnnError(
            f"{whole.count:,} elements for each of {whole.results:,}: too many to be reduced at once"
        )
    whole = replace(whole, scale=1 / whole.count if how.mean else 1.0)
    team = team_of(whole.count, across, here)
    blocks = -(-whole.results // (here.threads // team))
    parts = min(-(-BLOCKS * here.multiprocessors // blocks), whole.count // (WORK * team))
    if parts < 2:
        return [whole.step(site, here, read)]
    size = whole.results
    scratch = Address(Buffer(f"{site.name}.parts", F32 * parts * size, purpose="scratch"))
    places = [math.prod(a.extent for a in kept[k + 1 :]) for k in range(len(kept))]
    first = replace(
        whole,
        kinds=(kinds[0], "f32"),
        places=(source.address, scratch),
        how=replace(how, end="none"),
        scale=1.0,
        kept=[replace(a, target=place) for a, place in zip(kept, places, strict=True)],
        parts=parts,
        apart=size,
    )
    last = replace(
        whole,
        kinds=("f32", kinds[1]),
        places=(scratch, target.address),
        how=replace(how, term="same"),
        kept=[replace(a, source=place) for a, place in zip(kept, places, strict=True)],
        reduced=[Axis(parts, size, 0)],
        across=True,
    )
    return [first.step(site, here, read), last.step(site, here, 2 * F32 * parts * size)]


def team_of(count: int, across: bool, target: CudaTarget) -> int:
    """Threads for one result of ``count`` elements: a power of two."""
    most = max(target.threads // SIDE_BY_SIDE, 2) if across else target.threads
    return 1 << (min(-(-count // 4), most) - 1).bit_length()


def kept_words(axes: Sequence[Axis]) -> tuple[int, ...]:
    """The arguments of axes that stay."""
    found = _fastest_first(axes, MOST_KEPT)
    return tuple(word for a in found for word in (a.extent, *reciprocal(a.extent), a.source, a.target))


def reduced_words(axes: Sequence[Axis]) -> tuple[int, ...]:
    """The arguments of axes that go."""
    found = _fastest_first(axes, MOST_REDUCED)
    return tuple(word for a in found for word in (a.extent, *reciprocal(a.extent), a.source))


def _fastest_first(axes: Sequence[Axis], most: int) -> list[Axis]:
    assert len(axes) <= most
    return [*reversed(axes), *[Axis(1, 0, 0)] * (most - len(axes))]


KEPT = numbers(" ".join(f"{word}{k}" for k in range(MOST_KEPT) for word in "nfhab"))
REDUCED = numbers(" ".join(f"{word}{k}" for k in range(MOST_REDUCED) for word in "mgkc"))
"""The parameters of both."""
