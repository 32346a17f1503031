"""Indirect matrix products, of which convolutions and dense layers are made: weights, rows, the step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import estimates, packing, tile_variants
from nbcnn.kernels.cpu.tiles import Tile, choose_order, choose_share, choose_tile
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import F32, View, round_up
from nbcnn.kernels.steps import Arg, Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

MACS = 7e9
"""Multiply-adds that a product does in a second and a lane, for estimates."""

PACE = 7.4e9
"""Multiply-adds that a tile of several vectors does in a second and a lane; ends not counted."""

ONE_VECTOR, SHARED = 0.7, 0.5
"""Paces relative to that of tiles one vector wide, and of those whose vectors several groups share."""

RESULT = 0.24e-9
"""Seconds that a vector of results takes to begin and to end."""

MEMORY, PREFETCHED = 36e9, 250e9
"""Bytes of weights in a second: of first panels, which are waited for, and of those that are prefetched."""

WEIGHT_BYTES = 60e9
"""Bytes of weights that arrive in a second, partly from memory: other layers ran since their last use."""


@dataclass(frozen=True)
class Rows:
    """Which rows the product has and where they are: see the argument block of ``code/igemm.py``.

    ``pitch`` is the distance of two rows where one table block serves all of them: then the last
    block reads rows past the end (it never uses them).
    """

    table: object
    taps: int
    k: int
    rows: int
    images: int
    block_step: int
    table_step: int
    pitch: int = 0


@dataclass(frozen=True)
class Extent:
    """The sizes that decide the tile of a product: rows of an image, ``n`` columns, ``k`` terms a tap."""

    rows: int
    n: int
    k: int
    taps: int
    groups: int = 1


@dataclass(frozen=True)
class Product(Kernel):
    """A kernel that is one matrix product; ``tile`` and ``order`` None are those that `tiles` chooses."""

    tile: Tile | None = None
    order: int | None = None

    def extent(self, site: Site) -> Extent:
        """The sizes of the product at ``site``."""
        raise NotImplementedError

    @property
    def variant(self) -> str:
        tile = [f"{self.tile[0]}x{self.tile[1]}"] if self.tile else []
        return ", ".join(tile + ([] if self.order is None else [f"order {self.order}"]))

    def variants(self, site: Site, target: Target) -> tuple[Kernel, ...]:
        e = self.extent(site)
        sizes = e.rows, e.n, e.k, e.taps
        found: list[Kernel] = []
        for tile in (None, *tile_variants.tiles(*sizes, target.lanes, target.registers)):
            mr, nv, _ = tile or choose_tile(*sizes, target.lanes, target.registers)
            if tile:
                found.append(replace(self, tile=tile))
            if e.rows > mr and e.n > nv * target.lanes:  # there are several blocks and several panels
                other = 1 - choose_order(*sizes, mr, nv * target.lanes, target)
                found.append(replace(self, tile=tile, order=other))
        return tuple(found)

    def seconds(self, site: Site, tail: Epilogue, target: Target) -> float:
        """The estimate: whole tiles at the pace of their kind, weights, and what ends a tile.

        Of 356 layers of ten networks (one thread, batch 1, AMD Zen 5) 93 % took within 10 % of it.
        """
        e = self.extent(site)
        mr, nv, _ = self.tile_for(site, target)
        share = choose_share(e.groups, e.n, e.k, target.lanes)
        groups, panels = e.groups // share, -(-e.n * share // (nv * target.lanes))
        results = groups * -(-e.rows // mr) * mr * panels * nv  # vectors
        panel = F32 * e.taps * e.k * nv * target.lanes
        ends = estimates.CALL + estimates.activated(site.out_types[0], tail, target)
        if e.rows == 1:
            return ends + groups * panels * panel / MEMORY
        pace = PACE * (SHARED if share > 1 else ONE_VECTOR if nv == 1 else 1)
        weights = groups * panel * (1 / MEMORY + (panels - 1) / PREFETCHED)
        return ends + results * (e.taps * e.k / pace + RESULT) + weights

    def tile_for(self, site: Site, target: Target) -> Tile:
        """The tile that is used at ``site``."""
        e = self.extent(site)
        return self.tile or choose_tile(e.rows, e.n, e.k, e.taps, target.lanes, target.registers)


def product_spec(mr: int, nv: int, unroll: int, share: int, tail: Epilogue, target: Target) -> KernelSpec:
    """The compiled function for a tile of ``mr`` rows by ``nv`` vectors, of ``share`` groups each."""
    return KernelSpec(
        "nbcnn.kernels.cpu.code.igemm:make",
        (
            ("MR", mr),
            ("NV", nv),
            ("LANES", target.lanes),
            ("ACT", tail.code),
            ("RES", tail.order),
            ("UNROLL", unroll),
            ("SHARE", share),
        ),
        f"f32_igemm_{mr}x{nv * target.lanes}{f'_by{share}' if share > 1 else ''}{tail.label}__{target.isa}",
    )


def product_step(
    site: Site,
    a: View,
    out: View,
    residual: View | None,
    rows: Rows,
    filters: Filters,
    tile: tuple[int, int, int],
    tail: Epilogue,
    emit: Emit,
    order: int | None = None,
) -> Step:
    """One matrix product: ``out`` = activation(rows of ``a`` times ``filters`` + bias + residual).

    ``order`` of its loops as in `choose_order`, which says it if it is None.
    """
    target, store = emit.target, emit.store
    mr, nv, unroll = tile
    nr = nv * target.lanes
    groups = filters.groups
    per_group = filters.shape[0] // groups
    share = filters.share
    packed = filters.packed(nr, store)
    biases = packing.vectors(filters.bias, groups, per_group, nr, store)
    a_group = share * rows.k if groups > 1 else 0
    n_store = per_group if groups > 1 else round_up(per_group, target.lanes)
    if order is None:
        order = choose_order(rows.rows, per_group, rows.k, rows.taps, mr, nr, target)
    args: tuple[Arg, ...] = (
        a.address,
        rows.table,  # type: ignore[assignment]
        packing.zeros(rows.k, store),
        packed,
        biases,
        out.address,
        residual.address if residual else 0,
        rows.k,
        rows.taps,
        rows.rows,
        rows.images,
        a.image_stride,
        out.image_stride,
        out.pitch,
        residual.image_stride if residual else 0,
        residual.pitch if residual else 0,
        n_store,
        groups,
        a_group,
        per_group if groups > 1 else 0,
        rows.block_step,
        rows.table_step,
        *tail.args,
        order,
    )
    return Step(
        site.name,
        product_spec(mr, nv, rows.k if share > 1 else unroll, share, tail, target),
        args,
        macs=site.macs * emit.batch,
        nbytes=packed.nbytes + 4 * emit.batch * (a.image_stride + out.image_stride),
        overread=4 * rows.pitch * (round_up(rows.rows, mr) - rows.rows),
    )


@dataclass(frozen=True)
class Filters:
    """The weights of a product, read as filters of ``shape`` [O, C/G, *kernel].

    ``groups`` counts those that share a vector, ``share`` of them, as one: see ``code/igemm.py``.
    """

    weight: Weight
    bias: Weight | None
    shape: tuple[int, ...]
    groups: int = 1
    flip: bool = False
    share: int = 1

    @classmethod
    def of(cls, site: Site, main: Node, shape: tuple[int, ...], share: int = 1) -> Filters:
        """The weights of ``main``, a convolution or dense node of the site's body."""
        weights = [site.weight(name) for name in main.weights]
        groups, flip = getattr(main.op, "groups", 1), getattr(main.op, "flip", False)
        bias = weights[1] if len(weights) > 1 else None
        return cls(weights[0], bias, tuple(shape), groups // share, flip, share)

    def packed(self, nr: int, store: Store) -> np.ndarray:
        """The panels that the product reads, ``nr`` filters wide."""
        return packing.panels(self.weight, self.shape, self.groups, nr, self.flip, store)
