"""The attributes that convolution and pooling share, read for any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

from nbcnn.frontends.onnx.read import ReadCall


def per_axis(call: ReadCall, name: str, axes: int, default: int = 1) -> tuple[int, ...]:
    """Attribute ``name``: one number for each spatial axis."""
    found = call.integers(name, (default,) * axes)
    call.refuse_unless(len(found) == axes, f"{name} has {len(found)} numbers for {axes} axes")
    return found


def read_padding(
    call: ReadCall, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """``pads`` or what ``auto_pad`` makes of them for operand 0: begins of all axes, then ends."""
    axes = len(kernel)
    auto, given = call.text("auto_pad", "NOTSET"), call.integers("pads", (0,) * (2 * axes))
    call.refuse_unless(len(given) == 2 * axes, f"pads has {len(given)} numbers for {axes} axes")
    if auto in ("NOTSET", ""):
        call.refuse_unless(min(given, default=0) >= 0, f"negative pads {list(given)}")
        return given
    if auto == "VALID":
        return (0,) * (2 * axes)
    call.refuse_unless(auto in ("SAME_UPPER", "SAME_LOWER"), f"unknown auto_pad {auto!r}")
    less, more = [], []
    for size, k, s, d in zip(call.shape(0)[2:], kernel, stride, dilation, strict=True):
        if isinstance(size, str):
            call.fail(f"auto_pad along the open extent '{size}'")
        call.refuse_unless(min(s, k, d) > 0, "kernels, strides and dilations are at least 1")
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        less.append(total // 2)
        more.append(total - total // 2)
    return (*less, *more) if auto == "SAME_UPPER" else (*more, *less)
