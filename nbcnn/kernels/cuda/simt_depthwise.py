"""Depthwise convolution in float32, on any GPU: ``simt/depthwise.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbcnn.kernels import epilogue
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import CODE, CudaKernel, plain_step
from nbcnn.kernels.cuda.division import reciprocal
from nbcnn.kernels.cuda.simt_conv import PIXELS, accepts, cost, filters_of, window_of
from nbcnn.kernels.cuda.simt_product import Filters, Place, V, Window, address_of, parts
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import Layout, View, round_up
from nbcnn.kernels.steps import DeviceArg, DeviceStep
from nbcnn.ops.conv import Conv
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

WIDTH = 4
"""Pixels that a thread computes."""

KNOWN = {3, 5, 7}
"""Widths of windows that get code of their own, for strides of 1 and 2; others share one kernel."""

_INTS = (
    *("total", "vectors", "vectors_f", "vectors_h", "strips", "strips_f", "strips_h"),
    *("rows", "rows_f", "rows_h", "channels", "line", "out_w", "size_h", "size_w", "kernel_h", "kernel_w"),
    *("stride_h", "stride_w", "dilation_h", "dilation_w", "before_h", "before_w"),
    *("x_pitch", "x_image", "out_pitch", "out_image", "residual_pitch", "residual_image"),
)


@dataclass(frozen=True)
class SimtDepthwise(CudaKernel):
    """A convolution with as many groups as input and output channels; a signal is an image of one row."""

    name = "simt_depthwise"

    def refuse(self, site: Site, target: CudaTarget, options: CompileOptions) -> str | None:
        found = epilogue.parse(site, "conv1d", "conv2d")
        if isinstance(found, str):
            return found
        window = window_of(site, found[0])
        if (window.channels, window.filters) != (1, 1):
            given, made = (n * window.groups for n in (window.channels, window.filters))
            return f"{given} to {made} channels in {window.groups} groups is not depthwise"
        return None

    def cost(self, site: Site, target: CudaTarget) -> float:
        return cost(site, target, site.macs)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        tail = epilogue.matched(site, "conv1d", "conv2d")[1]
        return accepts(self.reads(site)[slot], site, slot, layout, tail, PIXELS)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        main, tail = epilogue.matched(site, "conv1d", "conv2d")
        assert isinstance(main.op, Conv)
        window, residual = window_of(site, main), epilogue.residual_of(site, ins, tail)
        channels, target, (_, rows, columns) = window.groups, emit.target, window.axes
        x, out, added = ins[0], outs[0], residual or outs[0]
        vector = all(Place.of(view, window).even for view in (x, out, added))
        line = round_up(channels, target.lanes)
        filters = filters_of(site, main, (channels, 1, *main.op.kernel))
        packed, bias = _packed(filters, line, emit), filters.biases(channels, line, emit.store)
        vectors, strips = line // V if vector else line, -(-columns.out // WIDTH)
        kernel = kernel_of(window, vector, tail, target)
        steps = []
        for first, images in parts(window, (x, out, added), emit.batch):
            values = {
                **{"total": vectors * strips * rows.out * images, "vectors": vectors, "strips": strips},
                **{"rows": rows.out, "channels": channels, "line": line, "out_w": columns.out},
            }
            for name, axis in (("h", rows), ("w", columns)):
                values |= {f"size_{name}": axis.size, f"kernel_{name}": axis.kernel}
                values |= {f"stride_{name}": axis.stride, f"dilation_{name}": axis.dilation}
                values[f"before_{name}"] = axis.before
            for name, view in (("x", x), ("out", out), ("residual", added)):
                values |= {f"{name}_pitch": view.pitch, f"{name}_image": view.image_stride}
            for name in ("vectors", "strips", "rows"):
                values[f"{name}_f"], values[f"{name}_h"] = reciprocal(values[name])
            places = [address_of(view, view.offset, first) for view in (x, added, out)]
            args: tuple[DeviceArg, ...] = (places[0], packed, bias, *places[1:])
            args += (*(values[name] for name in _INTS), tail.a, tail.b)
            nbytes = images * sum(v.image_stride * v.size for v in {x, out, added}) + packed.nbytes
            macs = site.macs * images
            steps.append(
                plain_step(site.name, kernel, target, values["total"], args, macs=macs, nbytes=nbytes)
            )
        return steps


def kernel_of(window: Window, vector: bool, tail: Epilogue, target: CudaTarget) -> Simt:
    """The kernel for the columns of ``window``: see ``simt/depthwise.py``."""
    kind, columns = target.kind, window.axes[2]
    known = columns.kernel in KNOWN and columns.stride <= 2 and columns.dilation == 1
    kernel, stride = (columns.kernel, columns.stride) if known else (0, 0)
    how = (f"{kernel}s{stride}" if known else "") + ("" if vector else "scalar")
    name = "_".join(filter(None, (f"{kind}_depthwise", how))) + f"{tail.label}__simt"
    arrays = (("x", f"{kind}[]"), ("w", "f32[]"), ("bias", "f32[]"))
    arrays += (("residual", f"{kind}[]"), ("out", f"{kind}[]"))
    numbers = (*((n, "i32") for n in _INTS), ("a", "f32"), ("b", "f32"))
    constants = (
        *(("KIND", kind), ("WIDTH", WIDTH), ("KW", kernel), ("STRIDE", stride)),
        *(("VECTOR", vector), ("ACT", tail.activation), ("RES", tail.order)),
    )
    return Simt(name, f"{CODE}.depthwise:make", constants, arrays + numbers, target.threads, 2)


def _packed(filters: Filters, line: int, emit: Emit[CudaTarget]) -> np.ndarray:
    """[taps, ``line``], zeros behind the last channel."""

    def make() -> np.ndarray:
        array = filters.weight.array
        if filters.flip:
            array = np.flip(array, tuple(range(2, array.ndim)))
        found = np.zeros((math.prod(array.shape[2:]), line), np.float32)
        found[:, : len(array)] = array.reshape(len(array), -1).T
        return found

    return emit.store.get(("weights", "simt_depthwise", filters, line), make)
