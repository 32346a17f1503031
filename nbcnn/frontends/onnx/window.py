"""The attributes that convolution and pooling share, read for any number of spatial axes."""

from __future__ import annotations

from typing import Any

from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.ops.window import AXES

_WORDS = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}


def spatial_axes(call: ReadCall) -> int:
    """How many axes operand 0 has behind batch and channels: 1 to 3."""
    axes = call.rank(0) - 2
    call.refuse_unless(axes in AXES, f"{call.type(0)} has {axes} axes behind the channels: 1 to 3 are served")
    return axes


def per_axis(call: ReadCall, name: str, axes: int, default: int = 1) -> tuple[int, ...]:
    """Attribute ``name``: one number for each spatial axis."""
    found = call.integers(name, (default,) * axes)
    call.refuse_unless(len(found) == axes, f"{name} has {len(found)} numbers for {axes} axes")
    return found


def read_padding(call: ReadCall, axes: int) -> Any:
    """``pads``, begins of all axes, then ends; or the word for ``auto_pad``."""
    auto, given = call.text("auto_pad", "NOTSET"), call.integers("pads", (0,) * (2 * axes))
    if auto in _WORDS:
        return _WORDS[auto]
    call.refuse_unless(auto in ("NOTSET", ""), f"unknown auto_pad {auto!r}")
    call.refuse_unless(len(given) == 2 * axes, f"pads has {len(given)} numbers for {axes} axes")
    call.refuse_unless(min(given, default=0) >= 0, f"negative pads {list(given)}")
    return given
