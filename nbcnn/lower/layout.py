"""Walks the chosen kernels in order, gives every value its place and emits the steps of a plan.

A value is computed in the layout that its kernel writes; where a reader wants another one, a
conversion step is put before the first such reader and serves the later ones too. Operands of a
concatenation are computed right in their slots of its output where vectors do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nbcnn.errors import NbcnnError
from nbcnn.ir.graph import Graph
from nbcnn.ir.types import BATCH, TensorType
from nbcnn.kernels.base import Emit, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Buffer, Layout, View, nhwc, round_up
from nbcnn.kernels.steps import AnyStep, PythonStep
from nbcnn.lower import strips
from nbcnn.lower.select import REFERENCE, Choice
from nbcnn.lower.strip_steps import strip_step
from nbcnn.lower.strips import Chain

PIXELS = {"nhwc", "halo", "pixels4"}
"""Layouts that hold pixel by pixel; one becomes another over plain."""


@dataclass
class Layouts:
    """Values with the views that hold them, and the steps so far, in order."""

    emit: Emit
    values: dict[str, list[View]] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    steps: list[AnyStep] = field(default_factory=list)
    slots: dict[str, tuple[str, int]] = field(default_factory=dict)
    natural: dict[str, Layout] = field(default_factory=dict)

    def new(self, value: str, layout: Layout, place: str = "arena", purpose: str = "value") -> View:
        """A view of a fresh buffer for ``value``."""
        backend, target, batch, type_ = (
            self.emit.backend,
            self.emit.target,
            self.emit.batch,
            self.types[value],
        )
        size = type_.elements(batch)
        buffer = Buffer(value, backend.nbytes(layout, target, batch, type_), place, purpose)
        return backend.view(buffer, layout, target, size // batch if batch and size % batch == 0 else size)

    def find(self, value: str, kernel: Kernel, site: Site, slot: int) -> View:
        """``value`` in a layout that operand ``slot`` of ``kernel`` accepts, converted if need be."""
        for view in self.values[value]:
            if kernel.accepts(site, slot, view.layout):
                return view
        return self.convert(value, kernel.reads(site)[slot])

    def convert(self, value: str, layout: Layout) -> View:
        """``value`` in ``layout``; from pixels to pixels, or to another image, the way leads over plain."""
        views = self.values[value]
        for view in views:
            if view.layout == layout:
                return view
        source = next((v for v in views if v.layout.kind in ("plain", "planes")), views[0])
        images = {source.layout.image, layout.image} - {None}
        if {source.layout.kind, layout.kind} <= PIXELS or len(images) > 1:
            source = self.convert(value, PLAIN)
        view = self.new(value, layout, purpose="conversion")
        self.steps += self.emit.backend.convert(value, source, view, self.types[value], self.emit)
        self.values[value].append(view)
        return view

    def output(self, value: str, layout: Layout) -> View:
        """Where ``value`` is to be computed: its slot of a concatenation, or a buffer of its own."""
        if value not in self.slots or layout != self.natural[value]:
            return self.new(value, layout)
        whole, start = self.slots[value]
        if whole not in self.values:
            self.values[whole] = [self.output(whole, self.natural[whole])]
        view = self.values[whole][0]
        _, h, w = layout.image  # type: ignore[misc]
        return replace(view, layout=layout, image_stride=h * w * view.pitch, offset=view.offset + start)


def lay_out(graph: Graph, choices: list[Choice], emit: Emit) -> Layouts:
    """The steps of ``choices`` at the batch size of ``emit``."""
    state = Layouts(emit)
    for name, type_ in graph.inputs.items():
        state.types[name] = type_
        state.values[name] = [state.new(name, PLAIN, "input")]
    for choice in choices:
        for value, type_ in zip(choice.site.outputs, choice.site.out_types, strict=True):
            state.types[value] = type_
            state.natural[value] = nhwc(type_)
    _assign_slots(choices, state)
    chains = {c.site.name: chain for chain in strips.find(graph, choices, emit) for c in chain.choices}
    for choice in choices:
        _add_constants(graph, choice.site, state)
        chain = chains.get(choice.site.name)
        if chain is None:
            _lower(choice, state)
        elif choice is chain.choices[-1]:
            _lower_chain(chain, state)
    for name, value in graph.outputs.items():
        _add_constants(graph, value, state)
        _write_output(name, value, state)
    return state


def _assign_slots(choices: list[Choice], state: Layouts) -> None:
    """Decide which values are computed inside the output of the concatenation that reads them."""
    lanes = state.emit.target.lanes
    makers = {v: c for c in choices for v in c.site.outputs}
    for choice in reversed(choices):
        site = choice.site
        starts = choice.kernel.slots(site)
        if not starts:
            continue
        value, total = site.outputs[0], round_up(int(site.out_types[0].shape[1]), lanes)
        for slot, start in enumerate(starts):
            operand, type_ = site.data[slot], site.in_types[slot]
            width = int(type_.shape[1])
            maker = makers.get(operand)
            fits = start % lanes == 0 and (
                width % lanes == 0 or (slot == len(site.data) - 1 and start + round_up(width, lanes) <= total)
            )
            movable = (
                maker is not None
                and maker.kernel is not REFERENCE
                and operand not in state.slots
                and site.data.count(operand) == 1
            )
            if fits and movable:
                state.slots[operand] = (value, start)


def _add_constants(graph: Graph, reader: Site | str, state: Layouts) -> None:
    """Weights that are read as data become constant buffers in their plain layout."""
    for value in (reader,) if isinstance(reader, str) else reader.data:
        if value not in state.values and graph.is_weight(value):
            array, type_, batch = graph.weight(value).array, graph.type(value), state.emit.batch
            state.types[value] = type_
            buffer = Buffer(value, array.nbytes, "constant", array=array)
            # A constant may hold one image for each of a batch that is a number.
            each = array.size // batch if batch and type_.shape[:1] == (batch,) else array.size
            state.values[value] = [View(buffer, PLAIN, each, each)]


def _lower(choice: Choice, state: Layouts) -> None:
    site, kernel = choice.site, choice.kernel
    ins = tuple(state.find(value, kernel, site, slot) for slot, value in enumerate(site.data))
    layouts = kernel.writes(site, tuple(v.layout for v in ins))
    places = kernel.within(site, ins, state.emit.target)
    for value, layout, place in zip(site.outputs, layouts, places, strict=True):
        if place is not None:
            state.values[value] = [place]
        elif value not in state.values:  # a concatenation exists once the first operand is placed in it
            state.values[value] = [state.output(value, layout)]
    outs = tuple(state.values[value][0] for value in site.outputs)
    if kernel is REFERENCE:
        batch = {"N": state.emit.batch}
        bound = [t.bind(batch) for t in site.in_types]
        state.steps.append(
            PythonStep(
                site.name,
                site.op.reference,
                tuple(zip(ins, bound, strict=True)),
                tuple(w.array for _, w in site.weights),
                tuple((v, t.bind(batch)) for v, t in zip(outs, site.out_types, strict=True)),
            )
        )
        return
    try:
        state.steps += kernel.steps(site, ins, outs, state.emit)
    except NbcnnError as error:
        error.node = error.node or site.name
        raise


def _lower_chain(chain: Chain, state: Layouts) -> None:
    """All sites of a chain in one step, which stands where the last of them does."""
    inner, ins = {*chain.values}, []
    for choice in chain.choices[:-1]:  # what they lie as, for whoever asks; no step touches them as a whole
        (value,), (type_,) = choice.site.outputs, choice.site.out_types
        state.values[value] = [state.new(value, nhwc(type_))]
    for choice in chain.choices:
        site = choice.site
        ins.append(
            tuple(
                None if value in inner else state.find(value, choice.kernel, site, slot)
                for slot, value in enumerate(site.data)
            )
        )
    site, kernel = chain.choices[-1].site, chain.choices[-1].kernel
    (value,), (layout,) = site.outputs, kernel.writes(site, kernel.reads(site))
    if value not in state.values:
        state.values[value] = [state.output(value, layout)]
    state.steps.append(strip_step(chain, ins, state.values[value][0], state.emit))


def _write_output(name: str, value: str, state: Layouts) -> None:
    """Copy ``value`` into the array of the caller's that bears the output's name."""
    source = next((v for v in state.values[value] if v.layout == PLAIN), state.values[value][0])
    type_ = state.types[value].bind({BATCH: state.emit.batch})
    size = type_.elements()
    result = View(Buffer(name, type_.nbytes(), "output"), PLAIN, size, size // max(state.emit.batch, 1))
    state.steps += state.emit.backend.convert(value, source, result, state.types[value], state.emit)


def values_of(state: Layouts) -> Mapping[str, View]:
    """Each value with the first view that held it: what a tap reads."""
    return {value: found[0] for value, found in state.values.items()}
