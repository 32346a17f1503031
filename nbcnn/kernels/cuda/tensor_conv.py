"""Convolutions and dense layers on tensor cores, as implicit matrix products over pixels of channels.

Three records share the kernels of `nbcnn.kernels.cuda.code` (mma.sync from 8.0 on, wgmma on 9.0):

* ``tensor_conv``: any convolution of a signal or an image; groups are merged until they fill a tile, with
  zeros for the filters that do not see each other's channels;
* ``tensor_stem``: first layers of at most 4 channels, read as pixels of 4;
* ``tensor_dense``: rows, or an image that lies as it did before it was flattened: one long row of channels.

Tiles, and in how many parts sums are computed, come from `nbcnn.kernels.cuda.choose`, or from measuring its
candidates (`Emit.pick`). Numerics: see ``code/conv_mma.py`` and ``code/conv_wgmma.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial

import numpy as np

from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda import choose, packing
from nbcnn.kernels.cuda.base import CudaKernel
from nbcnn.kernels.cuda.choose import Tile
from nbcnn.kernels.cuda.images import (
    KIND,
    Operands,
    addresses,
    convolution,
    cost,
    epilogue_of,
    matched,
    moved,
    operands_of,
    pads_of,
    parts,
    plane,
    step,
    unavailable,
)
from nbcnn.kernels.cuda.problem import Conv
from nbcnn.kernels.cuda.shapes import Config, ConvMma, ConvWgmma, Epilogue, SplitReduce
from nbcnn.kernels.layouts import Address, Buffer, Layout, View, nhwc, round_up
from nbcnn.kernels.steps import DeviceStep
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget

PIXEL = 4
"""Channels of a pixel that first layers read."""

LONGEST = 15
"""Rows and columns of a filter, at most."""

Filters = Callable[[Config], np.ndarray]
"""The filters as a configuration reads them."""


class TensorConv(CudaKernel):
    """A convolution of a signal (an image of one row) or an image, fused or not."""

    name = "tensor_conv"
    pixels4 = False

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        if reason := unavailable(target):
            return reason
        if isinstance(found := convolution(site), str):
            return found
        groups, merge = found.op.groups, self._merged(site, target)
        if merge > choose.WASTE and found.op.channels // groups * merge > choose.COLUMNS:
            return f"{groups} groups that are whole vectors only {merge} at a time"
        return choose.refusal(self.problem(site, target), KIND[target.precision], self.pixels4)

    def cost(self, site: Site, target: CudaTarget) -> float:
        conv, kind = self.problem(site, target), KIND[target.precision]
        tile = choose.candidates(conv, kind, Epilogue(), target, self.pixels4)[0]
        products = choose.steps_of(tile.config, conv) * tile.config.bk * conv.m * conv.k
        return cost(site, target, products)

    def problem(self, site: Site, target: CudaTarget) -> Conv:
        """What the kernels compute for one image, which lies in a buffer of its own."""
        op, x = matched(site).op, site.in_types[0]
        channels, *size = x.extents()[1:]
        groups = op.groups // self._merged(site, target)
        whole = target.lanes if groups == 1 else 1
        return Conv(
            1,
            *plane(size),
            PIXEL if self.pixels4 else round_up(channels, whole),
            round_up(op.channels, whole),
            *plane(op.kernel),
            plane(op.stride),
            pads_of(op.pads(x)),
            plane(op.dilation),
            groups,
        )

    def _merged(self, site: Site, target: CudaTarget) -> int:
        op, channels = matched(site).op, int(site.in_types[0].shape[1])
        return choose.merged(op.groups, channels // op.groups, op.channels // op.groups, target.lanes)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        found, kind = matched(site), KIND[emit.target.precision]
        conv, weight, op = self.problem(site, emit.target), site.weight(found.main.weights[0]), found.op
        operands = operands_of(site, ins, outs, found.main, found.tail, emit)
        shape = (*weight.type.extents()[:2], *plane(op.kernel))
        merge = self._merged(site, emit.target), op.groups
        packed = partial(_packed, kind, weight, shape, op.flip, merge, emit)
        return conv_steps(site, conv, operands, packed, found.epilogue, emit, self.pixels4)


class TensorStem(TensorConv):
    """A first layer: its input is read as pixels of 4 channels."""

    name = "tensor_stem"
    pixels4 = True

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        if reason := unavailable(target):
            return reason
        if isinstance(found := convolution(site), str):
            return found
        if found.tail.residual == site.data[0]:
            return "its input is added to its result, and cannot be pixels of 4 channels for that"
        channels = int(site.in_types[0].shape[1])
        if channels > PIXEL:
            return f"{channels} input channels: above {PIXEL} reading whole vectors is better"
        if found.op.groups != 1:
            return "it is grouped"
        if set(found.op.kernel) == {1}:
            return "of a single pixel a whole vector may be read as well"
        return super().refuse(site, target, options)

    def reads(self, site: Site) -> tuple[Layout, ...]:
        pixels = Layout("pixels4", nhwc(site.in_types[0]).image)
        return (pixels, *(nhwc(t) for t in site.in_types[1:]))


class TensorDense(CudaKernel):
    """A fully connected layer on rows, or on an image that lies as it was before it was flattened."""

    name = "tensor_dense"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        if reason := unavailable(target):
            return reason
        found = epilogue.parse(site, "dense")
        if isinstance(found, str):
            return found
        if isinstance(fused := epilogue_of(found[1]), str):
            return fused
        return choose.refusal(self._problem(site, target), KIND[target.precision])

    def cost(self, site: Site, target: CudaTarget) -> float:
        conv = self._problem(site, target)
        return cost(site, target, conv.c * conv.k)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        _, tail = epilogue.matched(site, "dense")
        if slot > 0 or tail.residual == site.data[0]:  # what is added must lie as the result does
            return super().accepts(site, slot, layout)
        return layout.kind == "nhwc" and layout.image is not None and max(layout.image[1:]) <= LONGEST

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (main, tail), kind = epilogue.matched(site, "dense"), KIND[emit.target.precision]
        fused, weight, lanes = epilogue_of(tail), site.weight(main.weights[0]), emit.target.lanes
        assert isinstance(fused, Epilogue)
        operands = operands_of(site, ins, outs, main, tail, emit)
        c, h, w = ins[0].layout.image  # type: ignore[misc]
        conv = self._problem(site, emit.target)
        if ins[0].pitch == round_up(c, lanes):  # pixels follow each other without gaps: one long row
            conv = replace(conv, c=h * w * ins[0].pitch)
        else:
            conv = replace(conv, h=h, w=w, c=round_up(c, lanes), r=h, s=w)
        packed = partial(_packed, kind, weight, (weight.type.extents()[0], c, h, w), False, (1, 1), emit)
        return conv_steps(site, conv, operands, packed, fused, emit)

    def _problem(self, site: Site, target: CudaTarget) -> Conv:
        """What the kernels compute for one row."""
        (features,), (channels,) = site.in_types[0].extents()[1:], site.out_types[0].extents()[1:]
        return Conv(1, 1, 1, round_up(features, target.lanes), round_up(channels, target.lanes))


def _packed(
    kind: str,
    weight: Weight,
    shape: tuple[int, ...],
    flip: bool,
    merge: tuple[int, int],
    emit: Emit[CudaTarget],
    config: Config,
) -> np.ndarray:
    """The filters of ``shape`` [K, C, R, S] as ``config`` reads them, packed once for all that read alike.

    ``merge`` is how many of how many groups are computed as one.
    """

    def filters() -> np.ndarray:
        array = weight.array.reshape(shape)
        return packing.spread(np.flip(array, (2, 3)) if flip else array, *merge)

    return packed_for(kind, ("weights", "tensor", kind, weight, shape, flip, merge), filters, emit, config)


def packed_for(
    kind: str,
    key: tuple[Hashable, ...],
    filters: Callable[[], np.ndarray],
    emit: Emit[CudaTarget],
    config: Config,
) -> np.ndarray:
    """``filters()`` [K, C, R, S], which ``key`` tells from others, as ``config`` reads them."""
    if isinstance(config, ConvMma) and config.pixels4:
        return emit.store.get((*key, config.bk), lambda: packing.pixel_weights(config, filters()))
    if isinstance(config, ConvWgmma) and config.parts == 2:
        return emit.store.get(
            (*key, "parts"), lambda: packing.split_tf32(packing.conv_weights(kind, filters()))
        )
    return emit.store.get(key, lambda: packing.conv_weights(kind, filters()))


def conv_steps(
    site: Site,
    conv: Conv,
    operands: Operands,
    packed: Filters,
    fused: Epilogue,
    emit: Emit[CudaTarget],
    pixels4: bool = False,
) -> list[DeviceStep]:
    """The launches of a convolution, ``conv`` for one image, each with the tile that is picked for it."""
    kind, found = KIND[emit.target.precision], []
    for first, part in parts(conv, operands, emit.batch):
        tiles = choose.candidates(part, kind, fused, emit.target, pixels4)
        found += emit.pick(
            [partial(_way, site, part, first, operands, packed, fused, emit, tile) for tile in tiles]
        )
    return found


def _way(
    site: Site,
    conv: Conv,
    first: int,
    operands: Operands,
    packed: Filters,
    fused: Epilogue,
    emit: Emit[CudaTarget],
    tile: Tile,
) -> list[DeviceStep]:
    """The steps that compute ``conv``, from image ``first`` on, by ``tile``."""
    address, splits, w = addresses(operands, first), tile.splits, packed(tile.config)
    make = partial(step, site, conv=conv, tail=operands.tail, target=emit.target, splits=splits)
    macs, nbytes = site.macs * conv.n, moved(conv, operands) + w.nbytes
    if splits == 1:
        return [make(tile.config, address=address | {"w": w}, macs=macs, nbytes=nbytes)]
    sums = Buffer(f"{site.name} partial sums", splits * conv.m * conv.k * 4, purpose="scratch")
    products = make(tile.config, address=address | {"w": w, "out": Address(sums)}, macs=macs, nbytes=nbytes)
    reduction = SplitReduce(tile.config.kind, fused)
    return [products, make(reduction, address=address | {"partial": Address(sums)}, nbytes=sums.nbytes)]
