"""Host side of the kernels: a convolution's sizes become a grid and a list of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbcnn.kernels.cuda.shapes import KINDS, Config, ConvMma, ConvWgmma, Depthwise, SplitReduce
from nbcnn.runtime.cuda.launcher import Launch
from nbcnn.runtime.cuda.maps import Im2col, Tiled


@dataclass(frozen=True)
class Conv:
    """A convolution over NHWC; ``c`` and ``k`` are channels in memory (whole 16-byte vectors) of all groups.

    ``pads`` are top, left, bottom, right. A dense layer of N rows is one pixel an image. Pitches are
    bytes from pixel to pixel; 0 stands for a tensor of its own. Images lie one after the other.
    """

    n: int
    h: int
    w: int
    c: int
    k: int
    r: int = 1
    s: int = 1
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    x_pitch: int = 0
    residual_pitch: int = 0
    out_pitch: int = 0

    @property
    def p(self) -> int:
        """Rows of the result."""
        return (self.h + self.pads[0] + self.pads[2] - self.dilations[0] * (self.r - 1) - 1) // self.strides[
            0
        ] + 1

    @property
    def q(self) -> int:
        """Columns of the result."""
        return (self.w + self.pads[1] + self.pads[3] - self.dilations[1] * (self.s - 1) - 1) // self.strides[
            1
        ] + 1

    @property
    def m(self) -> int:
        """Pixels of the result, of all images."""
        return self.n * self.p * self.q


LIMIT = 1 << 31
"""Bytes of an input of one launch: beyond, its offsets do not fit, nor do divisors (`magic`)."""


def magic(divisor: int) -> tuple[int, int]:
    """``(multiplier, shift)`` with ``n // divisor == (n * multiplier >> 32) >> shift`` for n < 2^31.

    Granlund and Montgomery, "Division by invariant integers using multiplication" (1994). A divisor of
    1 gives multiplier 0, which the kernels know.
    """
    if divisor == 1:
        return 0, 0
    shift = (divisor - 1).bit_length() - 1
    return ((1 << (32 + shift)) + divisor - 1) // divisor, shift


def launch(
    config: Config,
    conv: Conv,
    address: Mapping[str, Any],
    *,
    floats: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    splits: int = 1,
    multiprocessors: int = 132,
) -> Launch:
    """The launch of ``config`` for ``conv``; ``address`` gives device addresses by parameter name,
    or what stands for them until there is a device.

    ``floats``: the activation's a and b, the scales of an s8 residual and result. ``splits`` divides the
    sum of a ``split`` kernel, whose result (``out``; ``partial`` for the reduction) is float32
    [splits, M, K], or int32 for s8. ``bias`` (and ``scale`` for s8) is float32 [K], zeros where there is
    none; ``residual`` may be ``out``. Raises ValueError for a convolution the kernel cannot do.
    """
    values: dict[str, Any] = {**_sizes(config, conv), **address}
    values.update(zip(("a", "b", "residual_scale", "out_scale"), floats, strict=True))
    match config:
        case ConvMma():
            grid = _conv_mma(config, conv, values, splits)
        case ConvWgmma():
            grid = _conv_wgmma(config, conv, values, multiprocessors)
        case SplitReduce():
            grid = _reduce(config, conv, values, splits)
        case Depthwise():
            grid = _depthwise(config, conv, values)
    for name in _operands(config):
        found = values.get(name)
        if found is None or (isinstance(found, int) and (not found or found % 16)):
            raise ValueError(f"{config.name} needs the address of {name}, a multiple of 16")
    return Launch(config, grid, tuple(values.get(name, 0) for name, _ in config.params))


def _operands(config: Config) -> set[str]:
    """Parameters that the kernel reads or writes through."""
    found = {name for name, code in config.params if code in ("u64", "map")}
    if isinstance(config, ConvMma) and config.split:
        return found - {"bias", "scale", "residual"}
    found -= set() if KINDS[config.kind].whole else {"scale"}
    return found if config.epilogue.residual != "none" else found - {"residual"}


def most_images(conv: Conv, size: int) -> int:
    """How many images of ``size`` bytes an element fit in one launch: offsets have 32 bits; 0 for none."""
    image = max(conv.h * conv.w * (conv.x_pitch or conv.c * size), conv.p * conv.q * 4)
    return (LIMIT - 1) // image


def _sizes(config: Config, conv: Conv) -> dict[str, Any]:
    size = KINDS[config.kind].size
    if max(conv.r, conv.s) > 15:
        raise ValueError(f"a filter of {conv.r}x{conv.s}: at most 15 rows and columns")
    if not isinstance(config, Depthwise) and conv.k // conv.groups * size % 16:
        raise ValueError(
            f"{conv.k} filters of {config.kind} in {conv.groups} groups: not whole 16-byte vectors"
        )
    pitch = conv.x_pitch or conv.c * size
    if conv.n > most_images(conv, size):
        raise ValueError(f"{conv.n} images of {conv.h}x{conv.w} with {pitch} bytes a pixel: at most 2 GiB")
    unit = 4 * size if getattr(config, "pixels4", False) else 16
    if conv.x_pitch % unit or conv.residual_pitch % 16 or conv.out_pitch % 16:
        raise ValueError("pixels that do not begin at whole 16-byte vectors")
    return {
        **{"H": conv.h, "W": conv.w, "R": conv.r, "S": conv.s, "P": conv.p, "Q": conv.q, "M": conv.m},
        "C": conv.c // conv.groups * size,
        "K": conv.k // conv.groups,
        "stride_h": conv.strides[0],
        "stride_w": conv.strides[1],
        "pad_h": conv.pads[0],
        "pad_w": conv.pads[1],
        "dilation_h": conv.dilations[0],
        "dilation_w": conv.dilations[1],
        "x_pitch": pitch,
        "residual_pitch": conv.residual_pitch or conv.k * size,
        "out_pitch": conv.out_pitch or conv.k * size,
        **_divisor("PQ", conv.p * conv.q),
        **_divisor("Q", conv.q),
        **_divisor("S", conv.s),
        **_divisor("P", conv.p),
    }


def _divisor(name: str, divisor: int) -> dict[str, int]:
    multiplier, shift = magic(divisor)
    return {f"{name}_multiplier": multiplier, f"{name}_shift": shift}


def _conv_mma(config: ConvMma, conv: Conv, values: dict[str, Any], splits: int) -> tuple[int, int, int]:
    size, row = KINDS[config.kind].size, config.row_bytes
    n_tiles = -(-values["K"] // config.bn)
    if config.pixels4:
        if conv.c != 4 or conv.groups > 1:
            raise ValueError(f"{config.name} reads pixels of 4 channels, not {conv.c}")
        steps = -(-conv.r * conv.s * 4 * size // row)
        w_pitch = steps * row
    else:
        if values["C"] % 16:
            raise ValueError(f"{conv.c} channels of {config.kind}: not whole 16-byte vectors")
        steps = conv.r * conv.s * -(-values["C"] // row)
        w_pitch = conv.r * conv.s * values["C"]
    values |= {"n_tiles": n_tiles, "k_tiles": steps, "w_pitch": w_pitch, **_divisor("n_tiles", n_tiles)}
    if config.split:
        if conv.groups > 1:
            raise ValueError("a convolution in groups is not split")
        values["out_pitch"] = conv.k * 4
    return -(-conv.m // config.bm) * n_tiles, 1, splits if config.split else conv.groups


def _conv_wgmma(
    config: ConvWgmma, conv: Conv, values: dict[str, Any], multiprocessors: int
) -> tuple[int, int, int]:
    size = KINDS[config.kind].size
    if conv.groups > 1 or values["C"] % 16:
        raise ValueError(f"{config.name} takes one group of whole 16-byte vectors of channels")
    if max(conv.strides) > 8 or max(conv.pads) > 127 or values["x_pitch"] % 16:
        raise ValueError(
            f"{config.name}: TMA takes strides to 8, pads to 127, pixels at whole 16-byte vectors"
        )
    pitch = values["x_pitch"]
    if config.im2col:
        extents, pitches = (conv.c, conv.w, conv.h, conv.n), (pitch, pitch * conv.w, pitch * conv.w * conv.h)
        pad_h, pad_w = conv.pads[:2]
        upper = (  # the last corner, seen from the last pixel
            (conv.q - 1) * conv.strides[1] - pad_w - (conv.w - 1),
            (conv.p - 1) * conv.strides[0] - pad_h - (conv.h - 1),
        )
        reach = ((conv.s - 1) * conv.dilations[1], (conv.r - 1) * conv.dilations[0])
        if min(upper) < -128 or max(upper) > 127 or max(reach) > 255:
            raise ValueError(f"{config.name}: TMA takes windows that reach 128 pixels beyond their corner")
        strides = (conv.strides[1], conv.strides[0])
        values["x"] = Im2col(
            values["x"],
            config.kind,
            size,
            extents,
            pitches,
            (-pad_w, -pad_h),
            upper,
            strides,
            config.bk,
            config.bm,
        )
    else:
        if (conv.r, conv.s, conv.strides, conv.pads) != (1, 1, (1, 1), (0, 0, 0, 0)):
            raise ValueError(f"{config.name} computes 1x1 convolutions of stride 1")
        values["x"] = Tiled(
            values["x"], config.kind, size, (conv.c, conv.m), (pitch,), (config.bk, config.bm)
        )
    taps = conv.r * conv.s
    row = conv.c * size
    values["w"] = Tiled(
        values["w"],
        config.kind,
        size,
        (conv.c, taps, conv.k, config.parts),
        (row, taps * row, conv.k * taps * row),
        (config.bk, 1, config.bn, config.parts),
    )
    n_tiles = -(-conv.k // config.bn)
    tiles = -(-conv.m // config.bm) * n_tiles
    values |= {"n_tiles": n_tiles, "tiles": tiles, **_divisor("n_tiles", n_tiles)}
    return min(tiles, multiprocessors), 1, 1


def _reduce(config: SplitReduce, conv: Conv, values: dict[str, Any], splits: int) -> tuple[int, int, int]:
    vectors = conv.k * KINDS[config.kind].size // 16
    values |= {
        "splits": splits,
        "partial_pitch": conv.k * 4,
        "vectors": vectors,
        **_divisor("vectors", vectors),
    }
    return -(-conv.m * vectors // config.threads), 1, 1


def _depthwise(config: Depthwise, conv: Conv, values: dict[str, Any]) -> tuple[int, int, int]:
    size = KINDS[config.kind].size
    if (conv.r, conv.s, conv.strides[1], conv.dilations[1]) != (
        config.r,
        config.s,
        config.stride,
        config.dilation,
    ):
        raise ValueError(f"{config.name} is built for another window")
    if conv.groups != conv.c or conv.k != conv.c or conv.c * size % 16:
        raise ValueError(f"{config.name} takes one filter a channel, channels in whole 16-byte vectors")
    vectors, strips = conv.c * size // 16, -(-conv.q // config.width)
    values |= {"C": conv.c * size, "w_pitch": conv.c * size, "vectors": vectors, "strips": strips}
    values |= {
        "total": vectors * strips * conv.n * conv.p,
        **_divisor("vectors", vectors),
        **_divisor("strips", strips),
    }
    return -(-values["total"] // config.threads), 1, 1
