"""gather: rows of a table (embedding), or slices of a value that fixed indices pick."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbcnn.kernels.base import AnyTarget, Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View
from nbcnn.kernels.steps import PythonStep
from nbcnn.ops.gather import inside
from nbcnn.options import CompileOptions


@dataclass(frozen=True)
class Rows:
    """``count`` indices pick rows of ``width`` elements, of which there are ``extent``, ``outer`` times."""

    outer: int
    count: int
    extent: int
    width: int
    word: int
    """Bytes of an index."""


class Gather(Kernel[AnyTarget]):
    """Whole rows of values in their plain order; the indices are checked before each run."""

    name = "gather"
    takes_constants = True
    takes_indices = True

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "gather":
            return f"{site.op.name} is no gather"
        x, _ = site.in_types
        if x.dtype != "float32":
            return f"it picks {x.dtype}"
        axis = site.op.axis % x.rank  # type: ignore[attr-defined]
        if site.data[0] in site.constants:
            return None if axis == 0 else "only the first axis of a table is looked up"
        return None if axis and site.data[1] in site.constants else "operand and indices both have a batch"

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN, PLAIN)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        return (PLAIN,)

    def rows(self, site: Site, batch: int) -> Rows:
        """What is picked."""
        x, indices = (t.bind({"N": batch}) for t in site.in_types)
        shape = x.extents()
        axis = site.op.axis % len(shape)  # type: ignore[attr-defined]
        outer, width = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        return Rows(outer, indices.elements(), shape[axis], width, np.dtype(indices.dtype).itemsize)

    def checks(self, site: Site, indices: View, emit: Emit[AnyTarget]) -> list[PythonStep]:
        """The step that checks indices which are known when the program runs; others are checked here.

        Both raise InputError for one that lies outside.
        """
        extent = self.rows(site, emit.batch).extent

        def check(array: np.ndarray) -> tuple[np.ndarray, ...]:
            inside(array, extent, site.name)
            return ()

        if indices.buffer.array is not None:
            check(indices.buffer.array)
            return []
        type_ = site.in_types[1].bind({"N": emit.batch})
        return [PythonStep(site.name, check, ((indices, type_),), (), ())]
