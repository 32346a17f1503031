"""Random convolutions, their result in float64, and how far a kernel may be from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda_emulator import Device, Timing, run

from nbcnn.kernels.cuda import packing
from nbcnn.kernels.cuda.problem import Conv, launch
from nbcnn.kernels.cuda.shapes import KINDS, Config, ConvMma, ConvWgmma, Depthwise, Epilogue, SplitReduce

ROUNDING = {"f16": 2.0**-11, "bf16": 2.0**-8, "tf32": 2.0**-24, "f32": 2.0**-24, "s8": 0.0}
"""Half the distance of two neighbours of the type, relative (bfloat16 has 8 significant bits)."""
SCALE_X, SCALE_RES, SCALE_OUT = 0.05, 0.04, 0.06


@dataclass
class Problem:
    """Operands in their memory types, and the same in float64 as the kernel ought to see them."""

    conv: Conv
    kind: str
    x: np.ndarray
    w: np.ndarray  # [K, C of a group, R, S] float64, of values the type holds
    bias: np.ndarray
    scale: np.ndarray
    residual: np.ndarray


def problem(kind: str, conv: Conv, seed: int = 0, channels: int | None = None) -> Problem:
    """Normal values; ``channels`` of the input bear data, the rest are zeros that fill up vectors."""
    rng = np.random.default_rng(seed)
    used = channels or conv.c // conv.groups
    x = rng.standard_normal((conv.n, conv.h, conv.w, conv.c))
    w = rng.standard_normal((conv.k, used, conv.r, conv.s)) / np.sqrt(used * conv.r * conv.s)
    residual = rng.standard_normal((conv.n, conv.p, conv.q, conv.k))
    bias = rng.standard_normal(conv.k).astype(np.float32)
    scale = np.ones(conv.k, np.float32)
    if kind == "s8":
        x, residual = x / SCALE_X, residual / SCALE_RES
        scale = rng.uniform(0.5, 1.5, conv.k).astype(np.float32) / 300
        w = w * SCALE_X / scale[:, None, None, None]  # sums of about 1 / SCALE_X**2 integers come out near 1
        w = np.clip(np.rint(w / np.abs(w).max() * 127), -127, 127)
        scale = (scale * SCALE_X).astype(np.float32)
    x[..., used * conv.groups :] = 0
    x, residual = packing.to_kind(kind, x), packing.to_kind(kind, residual)
    w = packing.from_kind(kind, packing.to_kind(kind, w))
    return Problem(conv, kind, x, w, bias, scale, residual)


def reference(p: Problem, epilogue: Epilogue, floats: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The result in float64 (s8: before rounding), and the bound on a kernel's error."""
    conv, kind = p.conv, p.kind
    x = packing.from_kind(kind, p.x)
    total, size = _conv(x, p.w, conv), _conv(np.abs(x), np.abs(p.w), conv)
    terms = conv.r * conv.s * (conv.c // conv.groups)
    error = size * _sum_error(kind, terms)
    if kind == "s8":
        total, error = total * p.scale, error + np.abs(total * p.scale) * 2.0**-24
    y = total + p.bias
    residual = packing.from_kind(kind, p.residual) * (floats[2] if kind == "s8" else 1.0)
    if epilogue.residual == "before":
        y = y + residual
    error = error + 3 * 2.0**-24 * (np.abs(total) + np.abs(p.bias) + np.abs(residual))
    error = 1.2 * error + _activation_error(
        epilogue.activation, y
    )  # slopes are at most 1.1 (silu), 1.5 (hard_swish)
    if epilogue.activation == "hard_swish":
        error = 1.5 * error
    y = activation(epilogue.activation, y, floats[0], floats[1])
    if epilogue.residual == "after":
        y = y + residual
    if kind == "s8":
        return y * floats[3], error * floats[3] + 1e-6 * np.abs(y * floats[3])
    return y, error + ROUNDING[kind] * (np.abs(y) + error) + (2.0**-25 if kind == "f16" else 0)


def _sum_error(kind: str, terms: int) -> float:
    """Relative to the sum of the products' magnitudes; see the docstring of ``conv_mma``."""
    steps = -(-terms // 8)
    match kind:
        case "f16" | "bf16":
            return (terms // 16 + 16) * 2.0**-23
        case "tf32":
            return 2.0**-11 + 2.0**-21 + (steps + 16) * 2.0**-23  # weights are rounded before; see problem()
        case "f32":
            return 3 * 2.0**-22 + 12 * 2.0**-23 + (steps // 4 + 8) * 2.0**-24
    return 0.0


def _activation_error(name: str, y: np.ndarray) -> np.ndarray:
    if name in ("sigmoid", "silu"):  # exp2 and reciprocal to 4 ulp, and the rounded argument of exp2
        return (8 + np.abs(y)) * 2.0**-23 * np.maximum(np.abs(y), 1)
    return 4 * 2.0**-24 * np.abs(y)


def activation(name: str, y: np.ndarray, a: float, b: float) -> np.ndarray:
    match name:
        case "relu":
            return np.maximum(y, 0)
        case "clamp":
            return np.clip(y, a, b)
        case "leaky_relu":
            return np.where(y < 0, a * y, y)
        case "sigmoid":
            return 1 / (1 + np.exp(-y))
        case "hard_sigmoid":
            return np.clip(a * y + b, 0, 1)
        case "silu":
            return y / (1 + np.exp(-a * y))
        case "hard_swish":
            return y * np.clip(y + 3, 0, 6) / 6
        case "tanh":
            return np.tanh(y)
        case "elu":
            return np.where(y < 0, a * np.expm1(b * np.minimum(y, 0)), y)
        case "selu":
            return a * np.where(y < 0, b * np.expm1(np.minimum(y, 0)), y)
        case "gelu":
            return y * np.vectorize(math.erfc)(-y / math.sqrt(2)) / 2
        case "gelu_tanh":
            return y / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        case "mish":
            return y * np.tanh(np.log1p(np.exp(y)))
    return y


def _conv(x: np.ndarray, w: np.ndarray, conv: Conv) -> np.ndarray:
    top, left, bottom, right = conv.pads
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    each, filters, used = conv.c // conv.groups, conv.k // conv.groups, w.shape[1]
    out = np.zeros((conv.n, conv.p, conv.q, conv.k))
    for g in range(conv.groups):
        for r in range(conv.r):
            for s in range(conv.s):
                h, v = r * conv.dilations[0], s * conv.dilations[1]
                rows = slice(h, h + conv.strides[0] * (conv.p - 1) + 1, conv.strides[0])
                columns = slice(v, v + conv.strides[1] * (conv.q - 1) + 1, conv.strides[1])
                taken = x[:, rows, columns, g * each : g * each + used]
                part = slice(g * filters, (g + 1) * filters)
                out[..., part] += taken @ w[part, :, r, s].T
    return out


def execute(
    config: Config,
    p: Problem,
    floats: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    timing: Timing | None = None,
    splits: int = 1,
    reduction: SplitReduce | None = None,
    make: Any = None,
    multiprocessors: int = 2,
) -> np.ndarray:
    """The emulator's result in float64; memory around and before it is NaN, or nobody's."""
    device, conv = Device(), p.conv
    if isinstance(config, Depthwise):
        w = packing.depthwise_weights(p.kind, p.w)
    elif isinstance(config, ConvMma) and config.pixels4:
        w = packing.pixel_weights(config, p.w)
    else:
        w = packing.conv_weights(p.kind, p.w)
        w = packing.split_tf32(w) if isinstance(config, ConvWgmma) and p.kind == "f32" else w
    shape = (conv.n, conv.p, conv.q, conv.k)
    wide = conv.out_pitch // KINDS[p.kind].size or conv.k
    dtype = packing.to_kind(p.kind, np.zeros(1)).dtype
    x, residual = _spread(p.x, conv.x_pitch), _spread(p.residual, conv.residual_pitch)
    address = {
        **{
            "x": device.put(x),
            "w": device.put(w),
            "bias": device.put(p.bias),
            "scale": device.put(p.scale),
        },
        "residual": device.put(residual),
    }
    out = device.put(np.full((*shape[:3], wide * dtype.itemsize), 0xFF, np.uint8))
    if reduction is None:
        run(
            device,
            launch(config, conv, {**address, "out": out}, floats=floats, multiprocessors=multiprocessors),
            timing,
            make,
        )
    else:
        partial = device.put(np.full(int(np.prod(shape)) * splits * 4, 0xFF, np.uint8))
        run(device, launch(config, conv, {**address, "out": partial}, splits=splits), timing, make)
        given = {**address, "partial": partial, "out": out}
        run(device, launch(reduction, conv, given, floats=floats, splits=splits), timing)
    held = device.get(out, (*shape[:3], wide), dtype)
    assert (held[..., conv.k :].view(np.uint8) == 0xFF).all(), "bytes of a neighbour were written"
    return packing.from_kind(p.kind, held[..., : conv.k])


def _spread(array: np.ndarray, pitch: int) -> np.ndarray:
    """The pixels of ``array`` in a wider buffer, ``pitch`` bytes apart; between them NaN."""
    raw = np.ascontiguousarray(array).view(np.uint8)
    wide = np.full((*raw.shape[:-1], pitch or raw.shape[-1]), 0xFF, np.uint8)
    wide[..., : raw.shape[-1]] = raw
    return wide


def check(
    config: Config,
    conv: Conv,
    *,
    channels: int | None = None,
    epilogue: Epilogue | None = None,
    floats=None,
    seed=0,
    **how: Any,
) -> None:
    """Assert that the kernel's result is within the bound of float64's."""
    kind = config.kind
    floats = floats or (1.0, 6.0, SCALE_RES, 1 / SCALE_OUT)
    p = problem(kind, conv, seed, channels)
    result = execute(config, p, floats, **how)
    reduction = how.get("reduction")
    epilogue = epilogue or (reduction.epilogue if reduction else config.epilogue)
    wanted, bound = reference(p, epilogue, floats)
    assert np.isfinite(result).all(), f"{config.name}: {np.isnan(result).mean():.0%} of the result is NaN"
    if KINDS[kind].whole:
        wanted, bound = np.clip(wanted, -128, 127), bound + 0.5
    excess = np.abs(result - wanted) - bound
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    where = tuple(int(i) for i in worst)
    told = f"{result[worst]} for {wanted[worst]}, bound {bound[worst]:.3g}"
    assert excess[worst] <= 0, f"{config.name} at {where}: {told}"
