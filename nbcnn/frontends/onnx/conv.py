"""Convolutions, and transposed ones."""

from __future__ import annotations

from typing import Any

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.window import per_axis, read_padding, spatial_axes
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.conv_transpose1d import ConvTranspose1d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d
from nbcnn.ops.conv_transpose3d import ConvTranspose3d

CONVS: dict[int, Any] = {1: Conv1d, 2: Conv2d, 3: Conv3d}
TRANSPOSED: dict[int, Any] = {1: ConvTranspose1d, 2: ConvTranspose2d, 3: ConvTranspose3d}


def _attributes(call: ReadCall, axes: int) -> dict[str, Any]:
    """What both kinds share."""
    weight = call.shape(1)
    call.refuse_unless(len(weight) == axes + 2, f"the weight {call.type(1)} does not fit {call.type(0)}")
    kernel = call.integers("kernel_shape", weight[2:])
    call.refuse_unless(kernel == weight[2:], f"kernel_shape {kernel}, but the weight is {call.type(1)}")
    return {
        "kernel": kernel,
        "stride": per_axis(call, "strides", axes),
        "dilation": per_axis(call, "dilations", axes),
        "padding": read_padding(call, axes),
        "groups": call.integer("group", 1),
        "bias": call.has(2),
    }


def read_conv(call: ReadCall) -> None:
    axes = spatial_axes(call)
    op = CONVS[axes](call.shape(1)[0], **_attributes(call, axes))
    call.last(op, *call.given)


def read_conv_transpose(call: ReadCall) -> None:
    axes = spatial_axes(call)
    found = _attributes(call, axes)
    output_shape = None
    if call.has_attribute("output_shape"):  # then pads are not read; some files name all of the shape
        output_shape = call.integers("output_shape")[-axes:]
        found["padding"] = found["padding"] if isinstance(found["padding"], str) else "valid"
    op = TRANSPOSED[axes](
        call.shape(1)[1] * found["groups"],
        output_padding=per_axis(call, "output_padding", axes, 0),
        output_shape=output_shape,
        **found,
    )
    call.last(op, *call.given)


def write_conv(call: WriteCall) -> str:
    op = call.op
    weight = call.writer.flipped(call.inputs[1]) if op.flip else call.inputs[1]
    return call.last(
        "Conv",
        call.x,
        weight,
        *call.inputs[2:],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.pads(call.types[0]),
        dilations=op.dilation,
        group=op.groups,
    )


def write_conv_transpose(call: WriteCall) -> str:
    op = call.op
    pads = op.pads(call.types[0])
    if min(pads) >= 0:
        cut: dict[str, Any] = {"pads": pads}
    else:  # zeros are added, which only the shape can say; none of these axes is cut
        cut = {"output_shape": [int(d) for d in op.infer(call.types[0])[0].shape[2:]]}
        if op.padding == "same":
            cut["auto_pad"] = "SAME_UPPER"
    return call.last(
        "ConvTranspose",
        *call.inputs,
        kernel_shape=op.kernel,
        strides=op.stride,
        output_padding=op.output_padding,
        dilations=op.dilation,
        group=op.groups,
        **cut,
    )


IMPORT = {"Conv": read_conv, "ConvTranspose": read_conv_transpose}
EXPORT = {cls.name: write_conv for cls in CONVS.values()} | {
    cls.name: write_conv_transpose for cls in TRANSPOSED.values()
}
