"""Softmax and its logarithm; how rows are shared by threads."""

from __future__ import annotations

from nbcnn.kernels import softmax
from nbcnn.kernels.base import PLAIN, DeviceStep, Emit, Site, View
from nbcnn.kernels.cuda.base import pixel_pitch, plain_step, simt
from nbcnn.kernels.cuda.elementwise import numbers, stored, streamed
from nbcnn.target import CudaTarget

EACH = 4
"""Elements of a row that each thread should have, to wait for several at once."""


def group_of(length: int, target: CudaTarget) -> int:
    """Threads that share a row of ``length`` elements: a power of two."""
    return min(1 << (max(length // EACH, 1).bit_length() - 1), target.threads)


class Softmax(softmax.Softmax[CudaTarget]):
    """softmax and log_softmax."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (x,), (out,), (type_,), target = ins, outs, site.in_types, emit.target
        rows, length, *pitches = self.rows(site, x, out, emit)
        kind, group = stored(x, target), group_of(length, target)
        width = length if x.layout == PLAIN else pixel_pitch(length, target)
        params = (
            *(("x", f"{kind}[]"), ("out", f"{kind}[]")),
            *numbers("rows length width x_pitch out_pitch"),
        )
        kernel = simt(
            *("shared_rows", "make_softmax", f"{kind}_{site.op.name}_{group}", params, target),
            **{"LOG": int(site.op.name == "log_softmax"), "KIND": kind},
            **{"THREADS": target.threads, "GROUP": group},
        )
        args = (x.address, out.address, rows, length, width, *pitches)
        nbytes = 2 * type_.nbytes(emit.batch)
        return [plain_step(site.name, kernel, target, rows * group, args, nbytes=nbytes)]
