"""Changes of resolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.errors import GraphError
from nbcnn.frontends.onnx.read import ReadCall
from nbcnn.frontends.onnx.write import WriteCall
from nbcnn.ir.types import BATCH, Dim
from nbcnn.ops.resample import Axis
from nbcnn.ops.resize import Resize

MOST_WEIGHTS = 2**26
"""Elements of a matrix that a resize is written as."""


def read_upsample(call: ReadCall) -> None:
    """Upsample, and Resize before it was told how: points that are repeated, or lines between them."""
    scales = call.numbers("scales") if call.opset < 9 else call.array(1).astype(np.float64).tolist()
    mode = call.text("mode", "nearest")
    call.refuse_unless(mode in ("nearest", "linear"), f"mode '{mode}'")
    axes = list(range(call.rank(0)))
    _last(call, axes, scales, None, None, {"mode": mode, "coordinates": "asymmetric", "rounding": "floor"})


def read_resize(call: ReadCall) -> None:
    if call.opset < 11:
        return read_upsample(call)
    mode = call.text("mode", "nearest")
    coordinates = call.text("coordinate_transformation_mode", "half_pixel")
    rounding = call.text("nearest_mode", "round_prefer_floor")
    if coordinates == "tf_half_pixel_for_nn" and mode == "nearest" and rounding == "floor":
        coordinates, rounding = "half_pixel", "round_prefer_ceil"  # opset 11: half a point further, then down
    fields: dict[str, Any] = {
        "mode": mode,
        "coordinates": coordinates,
        "rounding": rounding if mode == "nearest" else "round_prefer_floor",
        "antialias": call.flag("antialias", False),
        "inside_only": call.flag("exclude_outside", False) and mode != "nearest",
        "aspect": call.text("keep_aspect_ratio_policy", "stretch"),
    }
    cubic, beyond = call.number("cubic_coeff_a", -0.75), call.number("extrapolation_value", 0.0)
    fields |= {"cubic": cubic} if mode == "cubic" else {}
    for field, known in _WORDS.items():
        call.refuse_unless(fields[field] in known, f"{field} '{fields[field]}'")
    rank = call.rank(0)
    axes = list(call.integers("axes", tuple(range(rank))))
    call.refuse_unless(all(-rank <= a < rank for a in axes), f"axes {axes} of {call.type(0)}")
    axes = [a % rank for a in axes]
    scales = call.array(2).astype(np.float64).tolist() if call.has(2) and call.shape(2) != (0,) else None
    sizes = call.dims(3) if scales is None else None
    region = None
    if coordinates == "tf_crop_and_resize":
        region = call.array(1).astype(np.float64).tolist()
        call.refuse_unless(len(region) == 2 * len(axes), f"{len(region)} numbers of roi for {len(axes)} axes")
        fields["extrapolation"] = beyond
    _last(call, axes, scales, sizes, region, fields)
    return None


_WORDS = {
    "mode": ("nearest", "linear", "cubic"),
    "coordinates": (
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ),
    "rounding": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    "aspect": ("stretch", "not_larger", "not_smaller"),
}


def _last(
    call: ReadCall,
    axes: list[int],
    scales: list[float] | None,
    sizes: tuple[Dim, ...] | None,
    region: list[float] | None,
    fields: dict[str, Any],
) -> None:
    """The resize of those of ``axes`` that change, which the batch never does."""
    given, targets = call.shape(0), scales if scales is not None else sizes
    if targets is None or len(targets) != len(axes):
        call.fail(f"not {len(axes)} scales or sizes")
    count, kept = len(axes), []
    for place, axis in enumerate(axes):
        same = targets[place] == (1 if scales is not None else given[axis])
        whole = region is None or (region[place], region[place + count]) == (0, 1)
        if not (same and whole and (fields.get("aspect", "stretch") == "stretch" or given[axis] == BATCH)):
            kept.append(place)
    if not kept:
        return call.result(call.x)
    if BATCH in (chosen := [targets[place] for place in kept]):
        call.fail("the batch as the size of another axis")
    named = [axes[place] for place in kept]
    last = named == list(range(len(given) - len(named), len(given)))
    if region is not None:
        fields["region"] = tuple(region[place + side * count] for side in (0, 1) for place in kept)
    fields["scales" if scales is not None else "sizes"] = tuple(chosen)
    call.last(Resize(axes=None if last else tuple(named), **fields), call.x)
    return None


def write_resize(call: WriteCall) -> str:
    """Resize where opset 17, and all engines, mean the same by it; its weights for each axis where not."""
    op, x = call.op, call.types[0]
    plan = op.plan(x)
    if not plan:
        return call.x
    targets = _targets(call, plan) if _agreed(op, plan) else None
    if targets is None:
        return _axis_by_axis(call, plan)
    attributes: dict[str, Any] = {"mode": op.mode, "coordinate_transformation_mode": op.coordinates}
    if op.mode == "nearest":
        attributes["nearest_mode"] = op.rounding
    if op.mode == "cubic":
        attributes |= {"cubic_coeff_a": op.cubic, "exclude_outside": int(op.inside_only)}
    roi = ""
    if op.region is not None:
        attributes["extrapolation_value"] = op.extrapolation
        ends = [plan[a].region[side] if a in plan else float(side) for side in (0, 1) for a in range(x.rank)]
        roi = call.constant("roi", np.array(ends, np.float32))
    return call.last("Resize", call.x, roi, *targets, **attributes)


def _agreed(op: Resize, plan: dict[int, Axis]) -> bool:
    """Whether opset 17 has it, and engines take the same extents where sizes are no whole multiples."""
    if op.antialias or op.aspect != "stretch" or op.coordinates == "half_pixel_symmetric":
        return False
    if op.inside_only and op.mode == "linear":
        return False
    if op.coordinates in ("half_pixel", "asymmetric"):
        return True
    return all(axis.scale * axis.extent == axis.size > 1 for axis in plan.values())


def _targets(call: WriteCall, plan: dict[int, Axis]) -> list[str] | None:
    """The operands ``scales`` (and ``sizes``) for all axes; None where float32 would mistake a size."""
    op, x = call.op, call.types[0]
    if op.scales is not None:
        scales = np.ones(x.rank, np.float32)
        for axis, resized in plan.items():
            scales[axis] = resized.scale
        sizes = {axis: np.floor(scales[axis] * np.float32(r.extent)) for axis, r in plan.items()}
        exact = {axis: np.floor(float(scales[axis]) * r.extent) for axis, r in plan.items()}
        if all(sizes[axis] == exact[axis] == r.size for axis, r in plan.items()):
            return [call.constant("scales", scales)]
        if any(r.scale * r.extent != r.size for r in plan.values()):
            return None
    full = [plan[axis].size if axis in plan else d for axis, d in enumerate(x.shape)]
    if full[0] != BATCH:
        return ["", call.constant("sizes", np.array(full, np.int64))]
    batch = call.part("Shape", call.x, start=0, end=1)
    rest = call.constant("sizes", np.array(full[1:], np.int64))
    return ["", call.part("Concat", batch, rest, axis=0)]


def _axis_by_axis(call: WriteCall, plan: dict[int, Axis]) -> str:
    """Nearest elements gathered; else each axis turned to the last place and multiplied with its weights."""
    op, x = call.op, call.types[0]
    if op.mode != "nearest" and not x.dtype.startswith("float"):
        raise GraphError(f"no ONNX export of '{op.name}' of {x}: it would not round")
    value, last = call.x, list(plan)[-1]
    for axis, resized in plan.items():
        index, weight, outside = op.taps(resized)
        write = call.last if axis == last else call.part
        if op.mode == "nearest" and outside is None:
            value = write("Gather", value, call.constant(f"places{axis}", index[:, 0]), axis=axis)
            continue
        if resized.extent * resized.size > MOST_WEIGHTS:
            raise GraphError(f"no ONNX export of '{op.name}' of {x} along axis {axis}: it would be too large")
        matrix = np.zeros((resized.extent, resized.size), x.dtype)
        np.add.at(matrix, (index, np.arange(resized.size)[:, None]), weight.astype(x.dtype))
        turn = [i for i in range(x.rank) if i != axis] + [axis]
        value = call.part("Transpose", value, perm=turn)
        if outside is not None:
            matrix[:, outside] = 0
        value = call.part("MatMul", value, call.constant(f"weights{axis}", matrix))
        if outside is not None:
            beyond = np.where(outside, op.extrapolation, 0).astype(x.dtype)
            value = call.part("Add", value, call.constant(f"beyond{axis}", beyond))
        value = write("Transpose", value, perm=[turn.index(i) for i in range(x.rank)])
    return value


IMPORT = {"Resize": read_resize, "Upsample": read_upsample}
EXPORT = {"resize": write_resize}
