"""Pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall, read_as
from nbcnn.frontends.onnx.window import per_axis, read_padding, spatial_axes
from nbcnn.frontends.onnx.write import WriteCall, write_as
from nbcnn.ops.lp_pool import GlobalLpPool, LpPool
from nbcnn.ops.max_unpool import MaxUnpool
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool


def read_max_pool(call: ReadCall) -> None:
    indices, order = any(call.outputs[1:]), call.integer("storage_order", 0)
    call.refuse_unless(order in (0, 1), f"storage_order {order}")
    call.last(MaxPool(**_read_window(call), indices=indices, storage_order=order * indices), call.x)


def read_max_unpool(call: ReadCall) -> None:
    axes = spatial_axes(call)
    kernel = call.integers("kernel_shape")
    call.refuse_unless(len(kernel) == axes, f"kernel_shape has {len(kernel)} numbers for {axes} axes")
    shape = call.ints(2)[2:] if call.has(2) else None
    op = MaxUnpool(kernel, per_axis(call, "strides", axes), call.integers("pads", (0,) * 2 * axes), shape)
    call.last(op, *call.inputs[:2])


def read_average_pool(call: ReadCall) -> None:
    counts = call.flag("count_include_pad", False)
    call.last(AvgPool(**_read_window(call), count_include_pad=counts), call.x)


def read_lp_pool(call: ReadCall) -> None:
    call.last(LpPool(**_read_window(call), p=call.integer("p", 2)), call.x)


def read_global_lp_pool(call: ReadCall) -> None:
    call.last(GlobalLpPool(call.integer("p", 2)), call.x)


def _read_window(call: ReadCall) -> dict[str, Any]:
    axes = spatial_axes(call)
    kernel = call.integers("kernel_shape")
    call.refuse_unless(len(kernel) == axes, f"kernel_shape has {len(kernel)} numbers for {axes} axes")
    return {
        "kernel": kernel,
        "stride": per_axis(call, "strides", axes),
        "padding": read_padding(call, axes),
        "dilation": per_axis(call, "dilations", axes),
        "ceil_mode": call.flag("ceil_mode", False),
    }


def write_max_pool(call: WriteCall) -> str:
    window = _window(call)
    order = {"storage_order": call.op.storage_order} if call.op.indices else {}
    return call.last("MaxPool", call.x, **window, **order)


def write_max_unpool(call: WriteCall) -> str:
    """Zeros behind the planes by a pad: given a shape, engines disagree about what places count in."""
    op, (x, _) = call.op, call.types
    at = MaxPool(op.kernel, op.stride, op.padding).at(x)
    window = {"kernel_shape": at.kernel, "strides": at.stride, "pads": at.pads}
    if op.output_shape is None:
        return call.last("MaxUnpool", *call.inputs, **window)
    plane = op.plane(x)
    more = [n - m for n, m in zip(op.output_shape, plane, strict=True)]
    pads = call.constant("pads", np.array([*[0] * (x.rank + 2), *more]))
    return call.last("Pad", call.part("MaxUnpool", *call.inputs, **window), pads)


def write_avg_pool(call: WriteCall) -> str:
    if set(call.op.dilation) != {1}:
        divisors = call.op.divisors(call.types[0]).astype(call.types[0].dtype)
        return call.last("Div", _window_sums(call, call.x), call.constant("divisors", divisors))
    window, counts = _window(call), call.op.count_include_pad
    window.pop("dilations")
    if window["ceil_mode"] and counts and any(window["pads"]):
        # Padding counts, what lies beyond it does not: engines disagree, unless it is made part of the image.
        pads = window.pop("pads")
        axes = len(pads) // 2
        sides = call.constant("pads", np.array([0, 0, *pads[:axes], 0, 0, *pads[axes:]]))
        return call.last("AveragePool", call.part("Pad", call.x, sides), **window)
    return call.last("AveragePool", call.x, **window, count_include_pad=int(counts))


def write_lp_pool(call: WriteCall) -> str:
    p = call.op.p
    if set(call.op.dilation) != {1}:
        powers = call.part("Pow", call.part("Abs", call.x), call.number("p", p))
        return call.last("Pow", _window_sums(call, powers), call.number("root", 1 / p))
    window = _window(call, overhang=True)
    for name in ("ceil_mode", "dilations"):
        window.pop(name)
    return call.last("LpPool", call.x, **window, p=p)


def write_global_lp_pool(call: WriteCall) -> str:
    return call.last("GlobalLpPool", call.x, p=call.op.p)


def _window_sums(call: WriteCall, value: str) -> str:
    """The sum of each window of ``value``, by a convolution: the pools of this opset have no dilation."""
    window, channels = _window(call, overhang=True), int(call.types[0].shape[1])
    window.pop("ceil_mode")
    ones = np.ones((channels, 1, *window["kernel_shape"]), call.types[0].dtype)
    return call.part("Conv", value, call.constant("ones", ones), **window, group=channels)


def _window(call: WriteCall, overhang: bool = False) -> dict[str, Any]:
    """Attributes of a pooling window, ``ceil_mode`` only where a window does hang over the padding.

    Padding that no window reads is kept as it was given unless ONNX would refuse or misread it. With
    ``overhang`` what a window reads beyond the padding is made padding.
    """
    op, x = call.op, call.types[0]
    at, size, out = op.at(x), x.shape[2:], op.infer(x)[0].shape[2:]
    axes = len(size)
    given = at.pads[axes:]
    read = []
    for n, count, kernel, stride, dilation, before in zip(
        size, out, at.kernel, at.stride, at.dilation, at.before, strict=True
    ):
        read.append(max((count - 1) * stride + dilation * (kernel - 1) + 1 - n - before, 0))
    over = [need > have for need, have in zip(read, given, strict=True)]
    after = [
        need if overhang or (not hangs and (any(over) or have >= kernel)) else have
        for need, have, hangs, kernel in zip(read, given, over, at.kernel, strict=True)
    ]
    return {
        "kernel_shape": at.kernel,
        "strides": at.stride,
        "pads": (*at.before, *after),
        "ceil_mode": int(any(over)),
        "dilations": at.dilation,
    }


IMPORT = {
    "MaxPool": read_max_pool,
    "MaxUnpool": read_max_unpool,
    "AveragePool": read_average_pool,
    "LpPool": read_lp_pool,
    "GlobalAveragePool": read_as(GlobalAvgPool),
    "GlobalMaxPool": read_as(GlobalMaxPool),
    "GlobalLpPool": read_global_lp_pool,
}
EXPORT = {
    "max_pool": write_max_pool,
    "max_unpool": write_max_unpool,
    "avg_pool": write_avg_pool,
    "lp_pool": write_lp_pool,
    "global_avg_pool": write_as("GlobalAveragePool"),
    "global_max_pool": write_as("GlobalMaxPool"),
    "global_lp_pool": write_global_lp_pool,
}
