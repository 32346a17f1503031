"""From a chain of sites to the one step that computes them strip by strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbcnn.kernels.base import Emit, Rowwise
from nbcnn.kernels.cpu import convert
from nbcnn.kernels.layouts import F32, Buffer, View, nhwc
from nbcnn.kernels.steps import Run, Step, StripStep
from nbcnn.lower.schedule import Compute, Move, schedule
from nbcnn.lower.select import Choice
from nbcnn.lower.strips import Chain, shares
from nbcnn.runtime.codecache import KernelSpec

STRIPS = KernelSpec("nbcnn.runtime.strip_code:make_strips", (), "strips")


def specs(emit: Emit) -> tuple[KernelSpec, ...]:
    """What chains call beside the functions of their sites."""
    return STRIPS, _copy(emit)


def strip_step(chain: Chain, ins: Sequence[tuple[View | None, ...]], out: View, emit: Emit) -> StripStep:
    """The step of ``chain``; ``ins`` are the operands of each site, None for what lies between sites."""
    parts = emit.options.threads or 1
    one = replace(emit, batch=1)
    runs = []
    for segments in shares(emit.batch, chain.walks[-1].out, parts):
        between = [_buffer(chain, index, emit) for index in range(len(chain.rooms))] if segments else []
        runs.append(
            tuple(
                Run(tuple(_steps(chain, first, last, ins, between, out, one)), begin, end)
                for begin, end, first, last in segments
            )
        )
    views = [view for site in ins for view in site if view and view.buffer.place == "arena"]
    strides = {view.buffer: F32 * view.image_stride for view in (*views, out)}
    names = tuple(c.site.name for c in chain.choices)
    return StripStep(names, STRIPS, tuple(runs), strides, chain.height)


def _buffer(chain: Chain, index: int, emit: Emit) -> View:
    """The strip of a value between two sites, of one part."""
    site, rows = chain.choices[index].site, chain.rooms[index]
    layout = nhwc(site.out_types[0])
    whole = convert.view_of(Buffer(site.outputs[0], 0), layout, emit.target, 0)
    floats = rows * _row(whole)
    return replace(
        whole, buffer=Buffer(site.outputs[0], F32 * floats, purpose="scratch"), image_stride=floats
    )


def _steps(
    chain: Chain,
    first: int,
    last: int,
    ins: Sequence[tuple[View | None, ...]],
    between: Sequence[View],
    out: View,
    emit: Emit,
) -> list[Step]:
    """The rows [first, last) of one image."""
    found: list[Step] = []
    for item in schedule(chain.walks, first, last, chain.height, chain.rooms):
        if isinstance(item, Move):
            found.append(_move(chain.choices[item.index], item, between[item.index], emit))
            continue
        choice = chain.choices[item.index]
        source = between[item.index - 1] if item.index else None
        operands = _operands(choice, item, ins[item.index], source)
        result = _below((*between, out)[item.index], item.target)
        found += _compute(chain, item, choice, operands, result, emit)
    return found


def _operands(
    choice: Choice, item: Compute, given: tuple[View | None, ...], source: View | None
) -> tuple[View, ...]:
    """The operands of a site from the first row on that it reads of each."""
    site, found = choice.site, []
    for slot, (view, type_) in enumerate(zip(given, site.in_types, strict=True)):
        view = view or source
        assert view is not None, "only the operand that the site before computes is not given"
        row_for_row = type_.rank == 4 and type_.shape[2] == site.out_types[0].shape[2]
        found.append(_below(view, item.source if slot == 0 else item.first if row_for_row else 0))
    return tuple(found)


def _compute(
    chain: Chain, item: Compute, choice: Choice, ins: tuple[View, ...], out: View, emit: Emit
) -> list[Step]:
    walk, kernel = chain.walks[item.index], choice.kernel
    assert isinstance(kernel, Rowwise)
    steps = kernel.steps(choice.site, ins, (out,), emit, walk.part(item.first, item.last))
    rows = item.last - item.first
    return [
        replace(step, macs=step.macs * rows // walk.out, nbytes=step.nbytes * rows // walk.out)
        for step in steps
    ]


def _move(choice: Choice, item: Move, view: View, emit: Emit) -> Step:
    """Copies rows that are needed again to the start of their buffer."""
    floats = item.count * _row(view)
    args = (_below(view, item.row).address, view.address, 1, floats, floats, floats)
    return Step(choice.site.name, _copy(emit), args, nbytes=2 * F32 * floats, conversion=True)


def _copy(emit: Emit) -> KernelSpec:
    return KernelSpec("nbcnn.kernels.cpu.code.layout:make_copy", (), f"f32_copy__{emit.target.isa}")


def _below(view: View, rows: int) -> View:
    """``view`` from so many rows further down on."""
    return replace(view, offset=view.offset + rows * _row(view)) if rows else view


def _row(view: View) -> int:
    """Floats from one row of pixels to the next."""
    _, _, width = view.layout.image  # type: ignore[misc]
    _, left, _, right = view.layout.pads
    return (left + width + right) * view.pitch
