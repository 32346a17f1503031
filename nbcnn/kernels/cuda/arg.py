"""arg_max and arg_min: the class of each pixel of a segmentation, or of each row of scores."""

from __future__ import annotations

import math

from nbcnn.errors import NbcnnError
from nbcnn.kernels import arg
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.cuda.base import numbers, plain_step, simt, stored, streamed
from nbcnn.kernels.cuda.division import LIMIT
from nbcnn.kernels.cuda.reduction import KEPT, kept_words, team_of
from nbcnn.kernels.layouts import View
from nbcnn.kernels.orders import Axis
from nbcnn.kernels.steps import DeviceStep
from nbcnn.target import CudaTarget


class ArgExtremum(arg.ArgExtremum[CudaTarget]):
    """arg_max and arg_min."""

    def cost(self, site: Site, target: CudaTarget) -> float:
        return streamed(site, target)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[CudaTarget]
    ) -> list[DeviceStep]:
        (source,), (out,), (x,), target = ins, outs, site.in_types, emit.target
        loops = self.loops(site, source, out, emit.batch)
        kept, gone = loops.kept, loops.reduced
        if loops.across:
            kept = [*kept, loops.inner]
        else:
            gone = [*gone, loops.inner]
        along = gone[0] if gone else Axis(1, 0, 0)
        results = math.prod(a.extent for a in kept)
        if max(along.extent, results) > LIMIT:
            raise NbcnnError(f"{results:,} extrema of {along.extent:,} elements are too many for one launch")
        outputs = target.threads // team_of(along.extent, loops.across, target)
        kind, op = stored(source, target), site.op
        params = (("source", f"{kind}[]"), ("target", "i64[]"), *numbers("results count apart"), *KEPT)
        last = bool(op.last)  # type: ignore[attr-defined]
        label = f"{kind}_{op.name}{'_last' if last else ''}_{outputs}{'across' if loops.across else 'along'}"
        kernel = simt(
            *("arg", "make", label, params, target),
            **{"LARGEST": op.name == "arg_max", "LAST": last, "SOURCE": kind, "ACROSS": loops.across},
            **{"OUTPUTS": outputs, "THREADS": target.threads},
        )
        args = (source.address, out.address, results, along.extent, along.source, *kept_words(kept))
        nbytes = source.size * x.elements(emit.batch) + sum(t.nbytes(emit.batch) for t in site.out_types)
        units = -(-results // outputs) * target.threads
        return [plain_step(site.name, kernel, target, units, args, nbytes=nbytes)]
