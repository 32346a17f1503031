"""Pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.frontends.onnx.read import ReadCall, read_as
from nbcnn.frontends.onnx.window import per_axis, read_padding
from nbcnn.frontends.onnx.write import WriteCall, write_as
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool


def read_max_pool(call: ReadCall) -> None:
    call.ignore("storage_order")  # the order of the indices, which are not served
    call.refuse_unless(len([o for o in call.outputs if o]) == 1, "the indices of the maxima")
    call.last(MaxPool(**_read_window(call)), call.x)


def read_average_pool(call: ReadCall) -> None:
    window = _read_window(call)
    call.refuse_unless(set(window.pop("dilation")) <= {1}, "dilations")
    call.last(AvgPool(**window, count_include_pad=call.flag("count_include_pad", False)), call.x)


def _read_window(call: ReadCall) -> dict[str, Any]:
    axes = call.rank(0) - 2
    call.refuse_unless(axes == 2, f"pooling of {call.type(0)}: only images [N, C, H, W] are served")
    kernel = call.integers("kernel_shape")
    call.refuse_unless(len(kernel) == axes, f"kernel_shape has {len(kernel)} numbers for {axes} axes")
    stride, dilation = per_axis(call, "strides", axes), per_axis(call, "dilations", axes)
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": read_padding(call, kernel, stride, dilation),
        "dilation": dilation,
        "ceil_mode": call.flag("ceil_mode", False),
    }


def write_max_pool(call: WriteCall) -> str:
    return call.last("MaxPool", call.x, **_window(call), dilations=call.op.dilation)


def write_avg_pool(call: WriteCall) -> str:
    window = _window(call)
    if window["ceil_mode"] and call.op.count_include_pad and any(window["pads"]):
        # Padding counts, what lies beyond it does not: engines disagree, unless it is made part of the image.
        top, left, bottom, right = window.pop("pads")
        pads = call.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
        return call.last("AveragePool", call.part("Pad", call.x, pads), **window)
    return call.last("AveragePool", call.x, **window, count_include_pad=int(call.op.count_include_pad))


def _window(call: WriteCall) -> dict[str, Any]:
    """Attributes of a pooling window, ``ceil_mode`` only where a window does hang over the padding.

    Padding that no window reads is kept as it was given unless ONNX would refuse or misread it.
    """
    op, x = call.op, call.types[0]
    size, out = x.shape[2:], op.infer(x)[0].shape[2:]
    pads = op.pads(x)
    read = []
    for i in (0, 1):
        end = (out[i] - 1) * op.stride[i] + op.dilation[i] * (op.kernel[i] - 1) + 1
        read.append(max(end - size[i] - pads[i], 0))
    over = [need > given for need, given in zip(read, pads[2:], strict=True)]
    after = [
        need if not hangs and (any(over) or given >= kernel) else given
        for need, given, hangs, kernel in zip(read, pads[2:], over, op.kernel, strict=True)
    ]
    return {
        "kernel_shape": op.kernel,
        "strides": op.stride,
        "pads": (*pads[:2], *after),
        "ceil_mode": int(any(over)),
    }


IMPORT = {
    "MaxPool": read_max_pool,
    "AveragePool": read_average_pool,
    "GlobalAveragePool": read_as(GlobalAvgPool),
    "GlobalMaxPool": read_as(GlobalMaxPool),
}
EXPORT = {
    "max_pool": write_max_pool,
    "avg_pool": write_avg_pool,
    "global_avg_pool": write_as("GlobalAveragePool"),
    "global_max_pool": write_as("GlobalMaxPool"),
}
