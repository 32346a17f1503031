"""gather: rows of a table (embedding), or slices of a value that fixed indices pick."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.kernels.base import PLAIN, Emit, Kernel, Layout, PythonStep, Site, Step, View
from nbcnn.ops.gather import inside
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target


class Gather(Kernel):
    """Whole rows of values in their plain order; the indices are checked before each run."""

    name = "gather"
    takes_constants = True
    takes_indices = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "gather":
            return f"{site.op.name} is no gather"
        x, _ = site.in_types
        if x.dtype != "float32":
            return f"it picks {x.dtype}"
        axis = site.op.axis % x.rank  # type: ignore[attr-defined]
        if site.data[0] in site.constants:
            return None if axis == 0 else "only the first axis of a table is looked up"
        return None if axis and site.data[1] in site.constants else "operand and indices both have a batch"

    def cost(self, site: Site, target: Target) -> float:
        return site.out_types[0].elements() * 1e-10

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN, PLAIN)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN,)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
    ) -> list[Step | PythonStep]:
        (x, indices), (out,), target = ins, outs, emit.target
        types = [t.bind({"N": emit.batch}) for t in site.in_types]
        shape = types[0].extents()
        axis = site.op.axis % len(shape)  # type: ignore[attr-defined]
        extent, width = shape[axis], math.prod(shape[axis + 1 :])

        def check(array: np.ndarray) -> tuple[np.ndarray, ...]:
            inside(array, extent, site.name)
            return ()

        checks: list[Step | PythonStep] = []
        if indices.buffer.array is None:
            checks.append(PythonStep(site.name, check, ((indices, types[1]),), (), ()))
        else:
            check(indices.buffer.array)
        word = np.dtype(types[1].dtype).itemsize
        args = (
            *(x.address, indices.address, out.address, math.prod(shape[:axis]), types[1].elements()),
            *(extent, width, extent * width),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.gather:make",
            (("WORD", word), ("LANES", target.lanes)),
            f"f32_gather_i{8 * word}__{target.isa}",
        )
        return [*checks, Step(site.name, spec, args, nbytes=8 * site.out_types[0].elements(emit.batch))]
