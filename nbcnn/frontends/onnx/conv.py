"""Convolutions."""

from __future__ import annotations

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.window import per_axis, read_padding
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv_transpose2d import ConvTranspose2d


def read_conv(call: ReadCall) -> None:
    axes = call.rank(0) - 2
    call.refuse_unless(axes == 2, f"convolution of {call.type(0)}: only images [N, C, H, W] are served")
    weight = call.shape(1)
    call.refuse_unless(len(weight) == axes + 2, f"the weight {call.type(1)} does not fit {call.type(0)}")
    kernel = call.integers("kernel_shape", weight[2:])
    call.refuse_unless(kernel == weight[2:], f"kernel_shape {kernel}, but the weight is {call.type(1)}")
    stride, dilation = per_axis(call, "strides", axes), per_axis(call, "dilations", axes)
    padding, groups = read_padding(call, kernel, stride, dilation), call.integer("group", 1)
    op = Conv2d(weight[0], kernel, stride, padding, dilation, groups, bias=call.has(2))  # type: ignore[arg-type]
    call.last(op, *call.given)


def write_conv2d(call: WriteCall) -> str:
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


def read_conv_transpose(call: ReadCall) -> None:
    axes = call.rank(0) - 2
    call.refuse_unless(axes == 2, f"convolution of {call.type(0)}: only images [N, C, H, W] are served")
    weight = call.shape(1)
    call.refuse_unless(len(weight) == axes + 2, f"the weight {call.type(1)} does not fit {call.type(0)}")
    kernel = call.integers("kernel_shape", weight[2:])
    call.refuse_unless(kernel == weight[2:], f"kernel_shape {kernel}, but the weight is {call.type(1)}")
    call.refuse_unless(call.text("auto_pad", "NOTSET") == "NOTSET", "auto_pad")
    call.refuse_unless(not call.has_attribute("output_shape"), "output_shape")
    groups = call.integer("group", 1)
    op = ConvTranspose2d(
        weight[1] * groups,  # type: ignore[arg-type, operator]
        kernel,
        stride=per_axis(call, "strides", axes),  # type: ignore[arg-type]
        padding=call.integers("pads", (0,) * (2 * axes)),
        output_padding=per_axis(call, "output_padding", axes, 0),  # type: ignore[arg-type]
        dilation=per_axis(call, "dilations", axes),  # type: ignore[arg-type]
        groups=groups,
        bias=call.has(2),
    )
    call.last(op, *call.given)


def write_conv_transpose2d(call: WriteCall) -> str:
    op = call.op
    return call.last(
        "ConvTranspose",
        *call.inputs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding,
        output_padding=op.output_padding,
        dilations=op.dilation,
        group=op.groups,
    )


IMPORT = {"Conv": read_conv, "ConvTranspose": read_conv_transpose}
EXPORT = {"conv2d": write_conv2d, "conv_transpose2d": write_conv_transpose2d}
