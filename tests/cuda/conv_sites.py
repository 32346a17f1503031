"""One site of a convolution or dense layer, run by a record and held to its bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from precisions import ROUNDOFF
from run_steps import Memory, emit

from nbcnn import reference
from nbcnn.ir import Node, Op, TensorType, Weight
from nbcnn.kernels.base import Kernel, Site
from nbcnn.kernels.cuda.packing import to_kind
from nbcnn.kernels.layouts import Layout, nhwc
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.fused import Body, Fused
from nbcnn.options import CompileOptions

FINITE = 3.0
"""What pads pixels, and lies around slots."""


def site_of(op: Op, x: TensorType, rng: np.random.Generator, after: Sequence[Op | str] = ()) -> Site:
    """``op`` on one operand, then each of ``after``: an activation, ``"add"`` of a residual, or of the
    operand ``"itself"``."""
    params = op.params(x)
    weights = [
        (n, Weight.of(rng.standard_normal(p.type.extents()).astype(np.float32))) for n, p in params.items()
    ]
    (out,) = op.infer(x)
    names = tuple(n for n, _ in weights)
    nodes, data, types = [Node("main", op, ("x", *names), ("y0",))], ("x",), (x,)
    for i, each in enumerate(after):
        value = nodes[-1].outputs[0]
        if each == "add":
            data, types = ("x", "r"), (x, out)
            nodes.append(Node("add", Add(), (value, "r"), (f"y{i + 1}",)))
        elif each == "itself":
            nodes.append(Node("add", Add(), (value, "x"), (f"y{i + 1}",)))
        else:
            assert isinstance(each, Op)
            nodes.append(Node(f"act{i}", each, (value,), (f"y{i + 1}",)))
    whole = Fused(Body(data, names, tuple(nodes), nodes[-1].outputs)) if after else op
    macs = whole.macs([*types, *(w.type for _, w in weights)], [out])
    return Site("site", whole, data, tuple(weights), ("y",), types, (out,), macs)


def excess(
    kernel: Kernel,
    site: Site,
    kind: str,
    rng: np.random.Generator,
    batch: int = 2,
    lies: Layout | None = None,
    slots: bool = False,
) -> float:
    """How many times its bound the worst element is off; what pads pixels and lies around is checked, too.

    The first operand lies as ``lies``; with ``slots`` all lie in wider buffers, one vector from their begin.
    """
    here = emit(batch, kind)
    assert kernel.refuse(site, here.target, CompileOptions()) is None
    memory, lanes = Memory(here), here.target.lanes

    def place(type_: TensorType, layout: Layout | None = None):
        layout = layout or nhwc(type_)
        wide = -(-layout.image[0] // lanes) * lanes + 2 * lanes
        return memory.view(layout, type_, (wide, lanes) if slots else None)

    views, arrays = [], []
    for i, type_ in enumerate(site.in_types):
        view = place(type_, lies if i == 0 else None)
        whole = memory.bytes[view.buffer]
        whole[:] = np.full(len(whole) // view.size, to_kind(kind, np.float32(FINITE))).view(np.uint8)
        arrays.append(memory.put(view, rng.standard_normal(type_.extents(batch)).astype(np.float32)))
        views.append(view)
    (type_,) = site.out_types
    out = place(type_)
    memory.run(kernel.steps(site, tuple(views), (out,), here))
    padded = -(-out.layout.image[0] // lanes) * lanes
    assert (memory.pads(out, padded) == 0).all(), "padding is not zero"
    assert (memory.others(out, padded) == 0xFF).all(), "written outside"
    found = memory.get(out, type_.extents(batch)).astype(np.float32)
    operands = [*arrays, *(w.array for _, w in site.weights)]
    operands = [np.asarray(a, np.float32) for a in operands]
    return reference.excess(site.op, operands, [found], *kernel.rounding, ROUNDOFF[kind])
