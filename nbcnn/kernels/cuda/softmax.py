"""Softmax and its logarithm; how rows are shared by threads."""

from __future__ import annotations

from typing import Any

from nbcnn.kernels import softmax
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import Names, numbers, pixel_pitch, plain_step, simt, stored, streamed
from nbcnn.kernels.layouts import PLAIN, View
from nbcnn.kernels.steps import DeviceStep
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

EACH, HELD = 4, 8
"""Elements of a row that each thread should have, to wait for several at once; the most that one can hold."""


def group_of(length: int, target: CudaTarget) -> int:
    """Threads that share a row of ``length`` elements: a power of two."""
    return min(1 << (max(length // EACH, 1).bit_length() - 1), target.threads)


def row_kernel(
    function: str, label: str, kind: str, length: int, params: Names, target: CudaTarget, **constants: Any
) -> tuple[Simt, int]:
    """A kernel of ``simt/shared_rows.py`` for rows of ``length``, and how many threads share a row.

    ``make_held_<function>`` where they can hold it, else ``make_<function>``.
    """
    group = group_of(length, target)
    held = "held_" if length <= HELD * group else ""
    constants |= {"KIND": kind, "THREADS": target.threads, "GROUP": group}
    name = f"{kind}_{held}{label}_{group}"
    return simt("shared_rows", f"make_{held}{function}", name, params, target, **constants), group


class Softmax(softmax.Softmax[CudaTarget]):
    """softmax and log_softmax."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), (type_,), target = ins, outs, site.in_types, emit.target
        rows, length, *pitches = self.rows(site, x, out, emit)
        kind, log = stored(x, target), int(site.op.name == "log_softmax")
        width = length if x.layout == PLAIN else pixel_pitch(length, target)
        params = (
            *(("x", f"{kind}[]"), ("out", f"{kind}[]")),
            *numbers("rows length width x_pitch out_pitch"),
        )
        kernel, group = row_kernel("softmax", site.op.name, kind, length, params, target, LOG=log)
        args = (x.address, out.address, rows, length, width, *pitches)
        nbytes = 2 * type_.nbytes(emit.batch)
        return [plain_step(site.name, kernel, target, rows * group, args, nbytes=nbytes)]
