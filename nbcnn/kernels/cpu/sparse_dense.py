"""Fully connected layers whose weights are mostly zeros: the zeros are not read."""

from __future__ import annotations

from functools import cache

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Kernel, Site, Store
from nbcnn.kernels.cpu import packing
from nbcnn.kernels.layouts import F32, Layout, View
from nbcnn.kernels.steps import Arg, Step
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

WEIGHTS = 1e9
"""Weights that are not zero that are read in a second, for estimates."""


class SparseDense(Kernel):
    """A dense layer whose weight the pass ``sparsify`` marked."""

    name = "sparse_dense"
    on_trial = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, "dense")
        if isinstance(found, str):
            return found
        if site.weight(found[0].weights[0]).sparsity is None:
            return "its weight is not marked as sparse"
        features = int(site.in_types[0].shape[1])
        if F32 * features * target.lanes >= 1 << 31:  # each may be a pixel of its own
            return f"rows of {features:,} floats are too large: offsets have 32 bits"
        return None

    def cost(self, site: Site, target: Target) -> float:
        main, _ = epilogue.matched(site, "dense")
        sparsity = site.weight(main.weights[0]).sparsity
        assert sparsity is not None
        return site.macs * (1 - sparsity.zeros) / WEIGHTS

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        _, tail = epilogue.matched(site, "dense")
        if slot > 0 or tail.residual == site.data[0]:  # what is added must lie as the result does
            return super().accepts(site, slot, layout)
        return layout.kind == "nhwc"

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (out,), a, store = outs, ins[0], emit.store
        main, tail = epilogue.matched(site, "dense")
        residual = epilogue.residual_of(site, ins, tail)
        weights = [site.weight(name) for name in main.weights]
        rows = site.out_types[0].extents()[1]
        lanes = emit.target.lanes
        chunk = emit.target.l1 // 2 // F32
        starts, offsets, values = entries(weights[0], a, lanes, chunk, store)
        bias = packing.vectors(weights[1] if len(weights) > 1 else None, 1, rows, lanes, store)
        args: tuple[Arg, ...] = (
            *(a.address, out.address, residual.address if residual else 0, bias),
            *(starts, offsets, values, emit.batch, rows),
            *(a.image_stride, out.image_stride, residual.image_stride if residual else 0),
            *tail.args,
            -(-a.image_stride // chunk),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.sparse_dense:make",
            (("LANES", lanes), ("ACT", tail.code), ("RES", tail.order)),
            f"f32_sparse_dense{tail.label}__{emit.target.isa}",
        )
        return [Step(site.name, spec, args, values.size * emit.batch, values.nbytes + offsets.nbytes)]


def entries(
    weight: Weight, a: View, lanes: int, chunk: int, store: Store
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights that are not zero: starts, offsets into a row that lies as ``a``, values.

    They are ordered by block of ``lanes`` outputs, by ``chunk`` floats of the row, by output.
    """
    c, h, w = a.layout.image  # type: ignore[misc]
    chunks = -(-a.image_stride // chunk)

    @cache
    def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        filters = weight.array.reshape(-1, c, h * w).transpose(0, 2, 1)
        row, pixel, channel = np.nonzero(filters)
        place = pixel * a.pitch + channel
        line = (row // lanes * chunks + place // chunk) * lanes + row % lanes
        order = np.argsort(line, kind="stable")
        starts = np.searchsorted(line[order], np.arange(-(-len(filters) // lanes) * chunks * lanes + 1))
        values = filters[row[order], pixel[order], channel[order]]
        return starts.astype(np.int32), (F32 * place[order]).astype(np.int32), values

    key = ("weights", "sparse_dense", weight, a.layout.image, a.pitch, a.image_stride, lanes, chunk)
    starts, offsets, values = (store.get((*key, i), lambda i=i: made()[i]) for i in range(3))
    return starts, offsets, values
