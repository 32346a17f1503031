"""Convolutions as plain matrix products: from a window over NHWC to launches of ``simt/conv.py``.

A product may be a part of what an operator computes: one phase of a transposed convolution. Groups of few
filters are taken several together, with zeros where a filter does not see a channel.
"""

from __future__ import annotations

from typing import Any

from nbcnn.errors import NbcnnError
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import CODE
from nbcnn.kernels.cuda.division import reciprocal
from nbcnn.kernels.cuda.simt_tiles import Tile, choose
from nbcnn.kernels.cuda.simt_window import POINT, Filters, Place, V, Window, address_of, parts
from nbcnn.kernels.epilogue import Epilogue
from nbcnn.kernels.layouts import View, round_up
from nbcnn.kernels.steps import DeviceStep
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

VOLUME_BLOCKS = 6
"""Of windows over volumes, on a multiprocessor at most: a third axis takes registers."""

COLUMNS = 16
"""Filters that a product should have at least: groups of fewer are taken together."""

SHORT = {"none", "clamp", "leaky_relu", "hard_sigmoid", "hard_swish", "abs", "neg"}
"""Activations of a few instructions."""

MOST_ROWS = 8
"""Images of one point that ``simt/rows.py`` takes: of more, weights would be read more than once."""

MOST_GROUPS = 65535
"""Of a launch: the second extent of its grid."""

_DIVISORS = ("n_tiles", "channels", "points", "width", "height", "kernel_w", "kernel_h")
_INTS = (
    *("m_total", "terms", "filters", "wide", "columns", "n_tiles", "n_tiles_f", "n_tiles_h"),
    *("channels", "channels_f", "channels_h", "x_group", "points", "points_f", "points_h"),
    *("width", "width_f", "width_h", "height", "height_f", "height_h"),
    *("kernel_w", "kernel_w_f", "kernel_w_h", "kernel_h", "kernel_h_f", "kernel_h_h"),
    *("size_d", "size_h", "size_w", "stride_d", "stride_h", "stride_w"),
    *("dilation_d", "dilation_h", "dilation_w", "before_d", "before_h", "before_w"),
    *("x_pitch", "x_image", "out_pitch", "out_row", "out_plane", "out_image"),
    *("residual_pitch", "residual_row", "residual_plane", "residual_image"),
)


def product_steps(
    site: Site,
    window: Window,
    filters: Filters,
    x: View,
    out: Place,
    residual: Place | None,
    tail: Epilogue,
    emit: Emit[CudaTarget],
    tile: Tile | None = None,
) -> list[DeviceStep]:
    """The launches that compute ``window`` over all images; ``tile`` other than the rules would choose.

    Raises NbcnnError for images too large for offsets of 32 bits.
    """
    share = shared_groups(window)
    channels, columns, groups = window.channels * share, window.filters * share, window.groups // share
    places = (out,) if residual is None else (out, residual)
    if filters.weight.array.size * share >= 1 << 30:
        raise NbcnnError(f"{filters.weight.array.size:,} weights are too many for a GPU's kernels")
    even = groups == 1 or (channels % V == 0 and columns % V == 0)
    vector = even and Place(x, x.pitch, 0, 0).even and all(p.even for p in places)
    channels = round_up(channels, V) if vector else channels
    padded = round_up(columns * groups, emit.target.lanes) - columns * (groups - 1)
    line = round_up(padded, emit.target.lanes)
    linear = _linear(window, x.pitch, channels) and out == Place.of(out.view, window)
    if linear and vector and groups == window.points == 1 and emit.batch <= MOST_ROWS and tile is None:
        return [rows_step(site, window, filters, x, out.view, residual, tail, emit)]
    axes = 0 if linear else 3 if window.axes[0] != POINT else 2
    terms = window.taps * channels
    weights = filters.packed(share, channels, line, emit.store)
    bias = filters.biases(share, line, emit.store)
    steps = []
    for first, images in parts(window, (x, *(p.view for p in places)), emit.batch):
        rows = images * window.points
        chosen = tile or choose(rows, columns, terms, groups, vector, staged(tail, vector), emit.target)
        n_tiles = -(-padded // chosen.bn)
        values = {
            **_sizes(window, x),
            **{"m_total": rows, "terms": terms, "filters": columns, "wide": padded, "columns": line},
            **{"n_tiles": n_tiles, "channels": channels, "x_group": window.channels * share},
            **_distances("out", out),
            **_distances("residual", residual or out),
        }
        for name in _DIVISORS:
            values[f"{name}_f"], values[f"{name}_h"] = reciprocal(values[name])
        operands = [address_of(x, x.offset, first), weights, bias]
        operands += [address_of(p.view, p.begin, first) for p in (residual or out, out)]
        kernel = kernel_of(chosen, axes, vector, tail, emit.target)
        grid = -(-rows // chosen.bm) * n_tiles, groups, 1
        nbytes = images * sum(v.image_stride * v.size for v in (x, *(p.view for p in places)))
        args = (*operands, *(values[name] for name in _INTS), tail.a, tail.b)
        macs = images * window.points * window.taps * window.channels * window.filters * window.groups
        steps.append(DeviceStep(site.name, kernel, grid, args, macs, nbytes + weights.nbytes))
    return steps


def rows_step(
    site: Site,
    window: Window,
    filters: Filters,
    x: View,
    out: View,
    residual: Place | None,
    tail: Epilogue,
    emit: Emit[CudaTarget],
) -> DeviceStep:
    """The launch for images of one point, of which there are few."""
    packed = filters.rows(round_up(window.channels, V), emit.store)
    columns, terms = len(packed), packed[0].size
    wide = round_up(columns, emit.target.lanes)
    kernel, each = rows_kernel(emit.batch, columns, terms, tail, emit.target)
    more = residual.view if residual else out
    args = (
        *(x.address, packed, filters.biases(1, wide, emit.store), more.address, out.address),
        *(emit.batch, terms, columns, wide, x.image_stride, out.image_stride, more.image_stride),
        *(tail.a, tail.b),
    )
    macs = emit.batch * columns * window.taps * window.channels
    return DeviceStep(site.name, kernel, (-(-wide // each), 1, 1), args, macs, packed.nbytes)


def rows_kernel(rows: int, columns: int, terms: int, tail: Epilogue, target: CudaTarget) -> tuple[Simt, int]:
    """The kernel of ``rows_step`` (``simt/rows.py``), and the filters of one of its blocks."""
    most = 1 << (rows - 1).bit_length()
    each = next((n for n in (4, 2) if columns >= 2 * n * target.multiprocessors), 1)
    wanted = max(1 << (terms // V - 1).bit_length(), 32) if terms >= V else 32
    threads = min(target.threads, wanted)
    kind = target.kind
    name = f"{kind}_rows_{most}x{each}t{threads}{tail.label}__simt"
    arrays = (("x", f"{kind}[]"), ("w", "f32[]"), ("bias", "f32[]"))
    arrays += (("residual", f"{kind}[]"), ("out", f"{kind}[]"))
    sizes = ("rows", "terms", "filters", "wide", "x_image", "out_image", "residual_image")
    numbers = (*((n, "i32") for n in sizes), ("a", "f32"), ("b", "f32"))
    constants = (
        *(("KIND", kind), ("ROWS", most), ("FILTERS", each), ("THREADS", threads)),
        *(("ACT", tail.activation), ("RES", tail.order)),
    )
    return Simt(name, f"{CODE}.rows:make", constants, arrays + numbers, threads, 2), each


def kernel_of(tile: Tile, axes: int, vector: bool, tail: Epilogue, target: CudaTarget) -> Simt:
    """The kernel of a tile: see ``simt/conv.py``."""
    kind = target.kind
    how = ("linear", "", "", "volume")[axes] + ("" if vector else "scalar")
    name = "_".join(filter(None, (f"{kind}_conv", tile.label, how))) + f"{tail.label}__simt"
    arrays = (("x", f"{kind}[]"), ("w", "f32[]"), ("bias", "f32[]"))
    arrays += (("residual", f"{kind}[]"), ("out", f"{kind}[]"))
    numbers = (*((n, "i32") for n in _INTS), ("a", "f32"), ("b", "f32"))
    constants: dict[str, Any] = {
        **{"BM": tile.bm, "BN": tile.bn, "BK": tile.bk, "TM": tile.tm, "TN": tile.tn},
        **{"SLICES": tile.slices, "LN": tile.lane, "WN": tile.warp},
        **{"KIND": kind, "AXES": axes, "VECTOR": vector, "STAGED": staged(tail, vector)},
        **{"ACT": tail.activation, "RES": tail.order},
    }
    blocks = min(tile.blocks, VOLUME_BLOCKS) if axes == 3 else tile.blocks
    factory = f"{CODE}.conv:make"
    return Simt(name, factory, tuple(constants.items()), arrays + numbers, tile.threads, blocks)


def staged(tail: Epilogue, vector: bool) -> bool:
    """Whether what follows the sums is too long to be unrolled for each of a thread."""
    return not vector or tail.activation not in SHORT


def shared_groups(window: Window) -> int:
    """How many groups are taken as one: as few as make `COLUMNS` filters and whole vectors."""
    if window.groups == 1 or window.filters >= COLUMNS:
        return 1
    fitting = [s for s in range(1, window.groups + 1) if window.groups % s == 0]
    wide = [s for s in fitting if s * window.filters >= COLUMNS] or [window.groups]
    whole = [s for s in wide if s * window.filters % V == 0 and s * window.channels % V == 0]
    return next((s for s in whole if s <= 4 * wide[0]), wide[0])


def _linear(window: Window, pitch: int, channels: int) -> bool:
    """Whether the terms of a row follow each other in memory."""
    covered = all(a.covered for a in window.axes) and (window.taps == 1 or pitch == channels)
    return covered or all(a.idle for a in window.axes)


def _sizes(window: Window, x: View) -> dict[str, int]:
    depth, rows, columns = window.axes
    values = {"points": window.points, "width": columns.out, "height": rows.out}
    values |= {"kernel_w": columns.kernel, "kernel_h": rows.kernel}
    values |= {"x_pitch": x.pitch, "x_image": x.image_stride}
    for name, axis in (("d", depth), ("h", rows), ("w", columns)):
        values |= {f"size_{name}": axis.size, f"stride_{name}": axis.stride}
        values |= {f"dilation_{name}": axis.dilation, f"before_{name}": axis.before}
    return values


def _distances(name: str, place: Place) -> dict[str, int]:
    image = place.view.image_stride
    return {
        f"{name}_{k}": v
        for k, v in (("pitch", place.pitch), ("row", place.row), ("plane", place.plane), ("image", image))
    }
