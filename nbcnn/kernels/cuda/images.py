"""What the records of the tensor-core tier share: kinds, epilogues, and which images one launch computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda import packing
from nbcnn.kernels.cuda.problem import Conv, launch, most_images
from nbcnn.kernels.cuda.shapes import ACTIVATIONS, Config, Epilogue
from nbcnn.kernels.epilogue import Epilogue as Tail
from nbcnn.kernels.epilogue import parse, residual_of
from nbcnn.kernels.layouts import Address, View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.ops.conv import Conv as ConvOp
from nbcnn.target import CudaTarget

KIND = {"float16": "f16", "bfloat16": "bf16", "tf32": "tf32", "3xtf32": "f32"}
"""Precision -> how tensor cores multiply (`nbcnn.kernels.cuda.shapes.KINDS`)."""

MOVED, MULTIPLIED, LAUNCHED = 3e12, 2e14, 3e-6
"""Bytes and products in a second, seconds of a launch: to rank kernels, not to predict."""

_RESIDUALS = ("none", "before", "after")


def unavailable(target: CudaTarget) -> str | None:
    """Why ``target`` multiplies nothing on tensor cores, or None."""
    if target.precision not in KIND:
        return f"{target.precision} is not multiplied on tensor cores: {', '.join(KIND)} are"
    if target.capability < (8, 0):
        return "its tensor cores are of compute capability {}.{}, below 8.0".format(*target.capability)
    return None


def epilogue_of(tail: Tail) -> Epilogue | str:
    """The epilogue as the kernels know it, or why they do not."""
    name = tail.activation
    if name == "clamp":
        name = "none" if not tail.applies else "relu" if (tail.a, tail.b) == (0.0, np.inf) else "clamp"
    elif name == "swish":
        name = "silu"
    if name not in ACTIVATIONS:
        return f"it cannot apply {name} while the result is in registers"
    return Epilogue(name, _RESIDUALS[tail.order])


@dataclass(frozen=True)
class Convolution:
    """What a site computes: a convolution of a signal or an image, its node, what follows it."""

    op: ConvOp
    main: Node
    tail: Tail
    epilogue: Epilogue


def convolution(site: Site) -> Convolution | str:
    """The convolution that ``site`` is, with an epilogue that the kernels know, or why it is none."""
    found = parse(site, "conv1d", "conv2d")
    if isinstance(found, str):
        return found
    main, tail = found
    fused = epilogue_of(tail)
    return fused if isinstance(fused, str) else Convolution(main.op, main, tail, fused)  # type: ignore[arg-type]


def matched(site: Site) -> Convolution:
    """`convolution` for a site that is known to be one."""
    found = convolution(site)
    assert not isinstance(found, str), found
    return found


def cost(site: Site, target: CudaTarget, products: float) -> float:
    """Estimated seconds at batch 1 of ``products`` multiplied on tensor cores."""
    moved = target.size * sum(t.elements(1) for t in (*site.in_types, *site.out_types))
    moved += target.size * sum(w.type.elements() for _, w in site.weights)
    return moved / MOVED + products / MULTIPLIED + LAUNCHED


def plane(numbers: Sequence[int], missing: int = 1) -> tuple[int, int]:
    """A number for each axis of a plane, from one or two of them."""
    return (missing, *numbers)[-2:]  # type: ignore[return-value]


def pads_of(before_and_after: Sequence[int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right from the padding before each of one or two axes, then that behind each."""
    rank = len(before_and_after) // 2
    (top, left), (bottom, right) = (plane(p, 0) for p in (before_and_after[:rank], before_and_after[rank:]))
    return top, left, bottom, right


@dataclass(frozen=True)
class Operands:
    """Where a convolution reads and writes, and its bias [K in whole vectors]."""

    x: View
    out: View
    residual: View | None
    bias: np.ndarray
    tail: Tail

    @property
    def views(self) -> tuple[View, ...]:
        return (self.x, self.out) if self.residual is None else (self.x, self.out, self.residual)


def operands_of(
    site: Site,
    ins: tuple[View, ...],
    outs: tuple[View, ...],
    main: Node,
    tail: Tail,
    emit: Emit[CudaTarget],
) -> Operands:
    """The operands of the node ``main`` of a site; a bias of zeros where it has none."""
    weights = [site.weight(name) for name in main.weights]
    bias = weights[1] if len(weights) > 1 else None
    filters, size = weights[0].type.extents()[0], emit.target.size

    def make() -> np.ndarray:
        return packing.bias_vector(bias.array if bias else None, filters, 16 // size)

    packed = emit.store.get(("weights", "tensor_bias", bias, filters, size), make)
    return Operands(ins[0], outs[0], residual_of(site, ins, tail), packed, tail)


def parts(conv: Conv, operands: Operands, batch: int) -> Iterator[tuple[int, Conv]]:
    """The first image of each launch, and what it computes; ``conv`` is that of one image.

    A launch takes images that follow each other without gaps, as many as its offsets reach.
    """
    pixels = conv.h * conv.w, conv.p * conv.q, conv.p * conv.q
    pitches = [_pixel_bytes(view, count) for view, count in zip(operands.views, pixels, strict=False)]
    conv = replace(conv, **dict(zip(("x_pitch", "out_pitch", "residual_pitch"), pitches, strict=False)))
    follow = all(_follows(view, count) for view, count in zip(operands.views, pixels, strict=False))
    most = max(most_images(conv, operands.x.size), 1) if follow else 1
    for first in range(0, batch, most):
        yield first, replace(conv, n=min(most, batch - first))


def _pixel_bytes(view: View, pixels: int) -> int:
    """From pixel to pixel; images of one pixel are pixels themselves."""
    return (view.image_stride if pixels == 1 else view.pitch) * view.size


def _follows(view: View, pixels: int) -> bool:
    return pixels == 1 or view.image_stride == pixels * view.pitch


def addresses(operands: Operands, first: int) -> dict[str, Any]:
    """The operands' addresses from image ``first`` on."""

    def at(view: View) -> Address:
        return Address(view.buffer, (view.offset + first * view.image_stride) * view.size)

    found = {"x": at(operands.x), "out": at(operands.out), "bias": operands.bias}
    return found | ({"residual": at(operands.residual)} if operands.residual is not None else {})


def step(
    site: Site,
    config: Config,
    conv: Conv,
    address: Mapping[str, Any],
    tail: Tail,
    target: CudaTarget,
    splits: int = 1,
    *,
    macs: int = 0,
    nbytes: int = 0,
) -> DeviceStep:
    """The launch of ``config`` for ``conv``, as `nbcnn.kernels.cuda.problem.launch` has it."""
    floats = (tail.a, tail.b, 1.0, 1.0)
    made = launch(config, conv, address, floats=floats, splits=splits, multiprocessors=target.multiprocessors)
    args: Any = made.args
    return DeviceStep(site.name, config, made.grid, args, macs, nbytes)


def moved(conv: Conv, operands: Operands) -> int:
    """Bytes of the images that ``conv`` reads and writes, with what lies between them."""
    return conv.n * sum(view.image_stride * view.size for view in operands.views)
