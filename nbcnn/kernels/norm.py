"""Normalisation: what the records of every target share."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.ir.weight import Weight
from nbcnn.kernels import epilogue
from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site, Store
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc, round_up
from nbcnn.ops.group_norm import GroupNorm, InstanceNorm
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.lrn import Lrn
from nbcnn.options import CompileOptions


class RowNorm(Kernel[AnyTarget]):
    """layer_norm and rms_norm over the channels of each pixel, or over the last axes of anything plain."""

    name = "row_norm"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        op = site.op
        if not isinstance(op, LayerNorm | RmsNorm):
            return f"{op.name} does not normalise rows"
        if isinstance(op, LayerNorm) and op.statistics:
            return "mean and deviation are asked for too"
        (x,) = site.in_types
        axes = op.along(x)
        if 0 in axes or not (_over_channels(site) or axes == tuple(range(axes[0], x.rank))):
            return "only axis 1 of images and the last axes are vectorised"
        return None

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (nhwc(site.in_types[0]) if _over_channels(site) else PLAIN,)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return ins

    def rows(self, site: Site, x: View, out: View, emit: Emit) -> tuple[int, int, int, int]:
        """How many rows of how many elements, and how far apart they lie in operand and result."""
        (type_,), op = site.in_types, site.op
        assert isinstance(op, LayerNorm | RmsNorm)
        length = math.prod(int(type_.shape[axis]) for axis in op.along(type_))
        pitches = (length, length) if x.layout == PLAIN else (x.pitch, out.pitch)
        return type_.elements(emit.batch) // length, length, *pitches


def _over_channels(site: Site) -> bool:
    """Whether what is averaged lies side by side in each pixel."""
    (x,) = site.in_types
    return nhwc(x).image is not None and site.op.along(x) == (1,)  # type: ignore[attr-defined]


class PlaneNorm(Kernel[AnyTarget]):
    """instance_norm and group_norm, with an activation behind.

    Three steps: moments of each channel, what its group makes of them, and the image once more.
    """

    name = "plane_norm"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        main, *rest = site.body
        if not isinstance(main.op, InstanceNorm | GroupNorm):
            return f"{main.op.name} does not normalise planes"
        if len(rest) > 1 or (rest and epilogue.activation(rest[0].op) is None):
            return "more than one activation follows"
        return None


def groups(main: Node, channels: int) -> int:
    """Groups of channels that are averaged together."""
    return main.op.num_groups if isinstance(main.op, GroupNorm) else channels


def vector(weight: Weight | None, size: int, multiple: int, store: Store) -> np.ndarray:
    """A weight of ``size`` elements, filled up to a ``multiple`` with zeros; zeros for None."""

    def make() -> np.ndarray:
        packed = np.zeros(round_up(size, multiple), np.float32)
        if weight is not None:
            packed[:size] = weight.array.reshape(-1)
        return packed

    return store.get(("weights", "vector", weight, size, multiple), make)


class LocalResponse(Kernel[AnyTarget]):
    """lrn over the channels of each pixel."""

    name = "lrn"

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if not isinstance(site.op, Lrn):
            return f"{site.op.name} is no lrn"
        if nhwc(site.in_types[0]).image is None:
            return "only signals, images, volumes and rows are vectorised"
        return None
