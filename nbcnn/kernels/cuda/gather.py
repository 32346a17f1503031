"""gather."""

from __future__ import annotations

from dataclasses import replace

from nbcnn.errors import NbcnnError
from nbcnn.kernels import gather
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import numbers, plain_step, simt, streamed
from nbcnn.kernels.cuda.division import LIMIT, reciprocal
from nbcnn.kernels.layouts import F32, Address, View
from nbcnn.kernels.steps import DeviceStep, PythonStep
from nbcnn.target import CudaTarget


class Gather(gather.Gather[CudaTarget]):
    """Whole rows of values in their plain order."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(replace(site, in_types=site.out_types), target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep | PythonStep]:
        (x, indices), (out,), target = ins, outs, emit.target
        rows = self.rows(site, emit.batch)
        code = f"i{8 * rows.word}"
        kernel = simt(
            *("gather", "make", f"gather_{code}"),
            (
                *(("x", "i32[]"), ("indices", f"{code}[]"), ("out", "i32[]")),
                *numbers("total width fw hw count fc hc extent"),
            ),
            target,
        )
        if rows.width >= LIMIT:
            raise NbcnnError(f"{site.name}: rows of {rows.width:,} elements are too long for a GPU's kernels")
        steps: list[DeviceStep | PythonStep] = [*self.checks(site, indices, emit)]
        some = min(rows.count, (LIMIT - 1) // rows.width)
        each = max((LIMIT - 1) // (rows.count * rows.width), 1)
        for outer in range(0, rows.outer, each):
            for first in range(0, rows.count, some):
                count = min(some, rows.count - first)
                total = min(each, rows.outer - outer) * count * rows.width
                addresses = (
                    _at(x, outer * rows.extent * rows.width * F32),
                    _at(indices, first * rows.word),
                    _at(out, (outer * rows.count + first) * rows.width * F32),
                )
                args = (
                    *(*addresses, total, rows.width, *reciprocal(rows.width)),
                    *(count, *reciprocal(count), rows.extent),
                )
                steps.append(plain_step(site.name, kernel, target, total, args, nbytes=2 * F32 * total))
        return steps


def _at(view: View, nbytes: int) -> Address:
    return Address(view.buffer, view.offset * view.size + nbytes)
