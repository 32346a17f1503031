"""What a kernel is to the rest of nbcnn: a record that matches a site, prices it and turns it into steps.

A *site* is one node of the optimised graph (or one node of a fused body that no kernel takes
whole). A kernel says why it cannot serve a site, what it would cost, which layouts it reads and
writes, and finally emits steps: a compiled function and its argument block.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Weight
from nbcnn.kernels.layouts import Buffer, Layout, View, aligned, nhwc
from nbcnn.kernels.rows import Walk
from nbcnn.kernels.steps import AnyStep, DeviceStep, PythonStep, Step, Way, first_way
from nbcnn.options import CompileOptions
from nbcnn.target import CudaTarget, Target

AnyTarget = TypeVar("AnyTarget", bound=Target | CudaTarget)
"""`Target` for the CPU's kernels, `CudaTarget` for a GPU's."""


@dataclass(frozen=True)
class Site:
    """A place in the graph that needs a kernel; types are those of the graph (batch unbound).

    ``constants`` are those among the data operands that are weights of the graph.
    """

    name: str
    op: Op
    data: tuple[str, ...]
    weights: tuple[tuple[str, Weight], ...]
    outputs: tuple[str, ...]
    in_types: tuple[TensorType, ...]
    out_types: tuple[TensorType, ...]
    macs: int = 0
    constants: tuple[str, ...] = ()

    @property
    def body(self) -> tuple[Node, ...]:
        """The nodes computed here: the body of a fused operator, else the one node."""
        if hasattr(self.op, "body"):
            return self.op.body.nodes  # type: ignore[attr-defined]
        return (Node(self.name, self.op, self.data + tuple(n for n, _ in self.weights), self.outputs),)

    def actual(self, formal: str) -> str:
        """The graph's name of a value that the body calls ``formal``."""
        if hasattr(self.op, "body"):
            names = dict(zip(self.op.body.inputs, self.data, strict=True))  # type: ignore[attr-defined]
            return names.get(formal, formal)
        return formal

    def type(self, value: str) -> TensorType:
        """Type of a data operand by its graph name."""
        return self.in_types[self.data.index(value)]

    def weight(self, formal: str) -> Weight:
        """A weight operand by the name that the body gives it."""
        if hasattr(self.op, "body"):
            names = self.op.body.weights  # type: ignore[attr-defined]
            return self.weights[names.index(formal)][1]
        return dict(self.weights)[formal]


@dataclass
class Store:
    """Packed weights and tables, made once per key and shared by every plan of a program."""

    arrays: dict[Hashable, np.ndarray] = field(default_factory=dict)

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of ``key``, aligned to 64 bytes; ``make`` is called the first time."""
        if key not in self.arrays:
            self.arrays[key] = aligned(make())
        return self.arrays[key]

    def nbytes(self, kind: str) -> int:
        """Bytes held under keys that begin with ``kind``."""
        return sum(a.nbytes for k, a in self.arrays.items() if isinstance(k, tuple) and k[0] == kind)


@dataclass(frozen=True)
class Emit(Generic[AnyTarget]):
    """What a kernel is given to emit its steps: the batch size, the target, options, the store.

    ``pick`` decides between several ways, which come with the best estimate first.
    """

    batch: int
    target: AnyTarget
    options: CompileOptions
    store: Store
    backend: Backend
    pick: Callable[[Sequence[Way]], Sequence[DeviceStep]] = first_way


@dataclass(frozen=True)
class Backend:
    """What lowering asks of a target's kernels, beside the steps of each.

    ``kernels()`` is their table. ``view(buffer, layout, target, elements)`` is the view of a whole buffer
    (``elements`` of an image, for plain values), ``nbytes(layout, target, batch, type)`` the size of one;
    ``convert(site, source, view, type, emit)`` are the steps that copy a value of ``type`` to where it lies
    in another layout, or from plain to plain. Pixels become other pixels over plain (`nbcnn.lower.layout`).
    ``move(site, source, target, axes, emit, offsets)`` are the steps that copy floats along the loops
    ``axes`` (`nbcnn.kernels.orders.Axis`), ``offsets`` elements into the views.
    """

    kernels: Callable[[], tuple[Kernel, ...]]
    view: Callable[[Buffer, Layout, Any, int], View]
    nbytes: Callable[[Layout, Any, int, TensorType], int]
    convert: Callable[[str, View, View, TensorType, Emit], Sequence[AnyStep]]
    move: Callable[..., list[Any]]


class Kernel(Generic[AnyTarget]):
    """A family of compiled functions that serve the same kind of site."""

    name: ClassVar[str]

    rounding: ClassVar[tuple[float, int]] = (1.0, 1)
    """The ``factor`` and ``tile`` with which `nbcnn.reference.bound` holds for this kernel's results."""

    takes_constants: ClassVar[bool] = False
    """Whether data operands that are weights need not begin with the batch."""

    takes_indices: ClassVar[bool] = False
    """Whether operands or results may be integers, int32 or int64, in their plain order."""

    on_trial: ClassVar[bool] = False
    """Whether its speed must be measured on the machine, against its rivals: an estimate does not hold."""

    @property
    def variant(self) -> str:
        """The parameters that rules would choose, where they are set: ``10x2, order 1``; else empty."""
        return ""

    @property
    def title(self) -> str:
        """``igemm``, or ``igemm[10x2, order 1]``."""
        return f"{self.name}[{self.variant}]" if self.variant else self.name

    def variants(self, site: Site, target: AnyTarget) -> tuple[Kernel, ...]:
        """This kernel with other parameters than its rules choose for ``site``: those worth measuring."""
        return ()

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        """Why this kernel cannot serve ``site``, or None when it can."""
        raise NotImplementedError

    def cost(self, site: Site, target: AnyTarget) -> float:
        """Estimated seconds at batch 1 on one thread: to rank kernels, not to predict."""
        raise NotImplementedError

    def reads(self, site: Site) -> tuple[Layout, ...]:
        """The layouts wanted for the data operands."""
        return tuple(nhwc(t) for t in site.in_types)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """The layouts of the outputs for operands that lie as ``ins``."""
        return tuple(nhwc(t) for t in site.out_types)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        """Whether operand ``slot`` may lie as ``layout`` without conversion."""
        return layout == self.reads(site)[slot]

    def slots(self, site: Site) -> tuple[int, ...]:
        """The channel of the output at which each operand begins, if it may be computed right there."""
        return ()

    def within(self, site: Site, ins: tuple[View, ...], target: AnyTarget) -> tuple[View | None, ...]:
        """For each output the view of an operand that already holds it, or None where it is computed."""
        return (None,) * len(site.outputs)

    def steps(
        self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit[AnyTarget]
    ) -> Sequence[Step | PythonStep | DeviceStep]:
        """The calls that compute ``outs``."""
        raise NotImplementedError


class Rowwise(Kernel):
    """A kernel of images that can compute some rows of its result from some rows of its operands.

    Only the first operand is seen through windows. Of the others those that have as many rows as the result
    are read row for row, the rest whole.
    """

    def walk(self, site: Site) -> Walk:
        """The windows over the rows of the first operand, as it lies."""
        raise NotImplementedError

    def steps(
        self,
        site: Site,
        ins: tuple[View, ...],
        outs: tuple[View, ...],
        emit: Emit,
        rows: Walk | None = None,
    ) -> list[Step]:
        """The calls that compute ``outs``; with ``rows``, a part of `walk`, those rows of one image.

        Then views begin at the first row that is read or written, and the batch is 1. Functions, tiles and
        the order of sums are those of the whole.
        """
        raise NotImplementedError
