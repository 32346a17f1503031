"""What the records of CUDA kernels share: their base class, and steps of plain kernels."""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.base import Kernel, Site
from nbcnn.kernels.layouts import PLAIN, View, round_up
from nbcnn.kernels.steps import DeviceArg, DeviceStep
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

CODE = "nbcnn.kernels.cuda.simt"

BLOCKS = 8
"""Blocks of a plain kernel on one multiprocessor; each thread then takes every so many elements."""


MOVED, LAUNCHED = 3e12, 3e-6
"""Bytes in a second, seconds of a launch: to rank kernels, not to predict."""

Names = tuple[tuple[str, str], ...]


class CudaKernel(Kernel[CudaTarget]):
    """A kernel of the CUDA target."""


def plain_step(
    site: str,
    kernel: Simt,
    target: CudaTarget,
    total: int,
    args: tuple[DeviceArg, ...],
    *,
    rows: int = 1,
    macs: int = 0,
    nbytes: int = 0,
    conversion: bool = False,
) -> DeviceStep:
    """A launch of ``kernel``, whose threads share ``total`` units of work in a grid-stride loop.

    With ``rows`` there is as much work in each of them, and the rows of the grid share them in another loop.
    """
    most = BLOCKS * target.multiprocessors
    blocks = max(min(-(-total // kernel.threads), most), 1)
    return DeviceStep(
        site, kernel, (blocks, min(rows, -(-most // blocks)), 1), args, macs, nbytes, conversion
    )


def simt(
    module: str,
    function: str,
    label: str,
    params: tuple[tuple[str, str], ...],
    target: CudaTarget,
    **constants: Any,
) -> Simt:
    """The plain kernel ``module:function`` of `nbcnn.kernels.cuda.simt` for ``constants``.

    ``label`` names it, for example ``f16_max_pool``: different constants need different labels.
    """
    name = f"{label}__simt"
    return Simt(name, f"{CODE}.{module}:{function}", tuple(sorted(constants.items())), params, target.threads)


def pixel_pitch(channels: int, target: CudaTarget) -> int:
    """Elements from pixel to pixel: channels in whole vectors."""
    return round_up(channels, target.lanes)


def streamed(site: Site, target: CudaTarget, launches: int = 1) -> float:
    """Estimated seconds of reading the operands and writing the results once, at batch 1."""
    elements = sum(t.elements(1) for t in (*site.in_types, *site.out_types))
    return target.size * elements / MOVED + launches * LAUNCHED


def numbers(names: str) -> Names:
    """Parameters of 32 bits."""
    return tuple((name, "i32") for name in names.split())


def stored(view: View, target: CudaTarget) -> str:
    """The type of a view's elements."""
    return "f32" if view.layout == PLAIN else target.kind
