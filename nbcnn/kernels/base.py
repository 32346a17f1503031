"""What a kernel is to the rest of nbcnn: a record that matches a site, prices it and turns it into steps.

A *site* is one node of the optimised graph (or one node of a fused body that no kernel takes
whole). A kernel says why it cannot serve a site, what it would cost, which layouts it reads and
writes, and finally emits steps: a compiled function and its argument block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from nbcnn.ir.graph import Node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Weight
from nbcnn.kernels.rows import Walk
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.target import CudaTarget, Target

AnyTarget = TypeVar("AnyTarget", bound=Target | CudaTarget)
"""`Target` for the CPU's kernels, `CudaTarget` for a GPU's."""

F32 = 4
"""Bytes of a float32."""


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


# -- memory ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How a value lies in memory.

    ``plain``: its logical shape, contiguous. ``nhwc``: pixels of channels padded to whole vectors;
    ``image`` is (C, H, W), also for a flattened value that still lies as its image did.
    ``halo``: pixels of exactly C channels inside a border of zeros, ``pads`` (top, left, bottom,
    right) wide: what first layers read. ``planes``: whole channels one after the other, each begins
    at a whole vector: what sparse filters read. ``pixels4``: pixels of 4 channels: what first
    layers read on a GPU.
    """

    kind: str
    image: tuple[int, int, int] | None = None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        return self.kind


PLAIN = Layout("plain")


def nhwc(type_: TensorType) -> Layout:
    """The ordinary layout of a value: NHWC for images, rows for [N, F], plain for the rest.

    A signal [N, C, L] lies as an image of one row, a volume [N, C, D, H, W] as its planes, one below
    the other.
    """
    extents = [d for d in type_.shape[1:] if not isinstance(d, str)]
    if not 2 <= type_.rank <= 5 or len(extents) < type_.rank - 1:
        return PLAIN
    channels, *rows, width = extents if type_.rank > 2 else (*extents, 1)
    return Layout("nhwc", (channels, math.prod(rows), width))


def planes(type_: TensorType) -> Layout:
    """The layout of an image, or of rows [N, F], as whole channels; plain for the rest."""
    return Layout("planes", image) if (image := nhwc(type_).image) else PLAIN


@dataclass(eq=False)
class Buffer:
    """A stretch of memory: in the ``arena``, the caller's (``input``, ``output``) or a ``constant``.

    ``name`` is the value it holds, or the public name of the caller's array; ``purpose`` tells
    values from conversions of them in the memory report.
    """

    name: str
    nbytes: int
    place: str = "arena"
    purpose: str = "value"
    array: np.ndarray | None = None


@dataclass(frozen=True)
class View:
    """A value, or a conversion of it, in a buffer; strides in elements of ``size`` bytes.

    ``pitch`` is the distance of two pixels (of two channels in ``planes``), ``image_stride`` of two
    images; both may exceed what the value itself needs when it lies in a slot of a wider buffer
    (concatenation).
    """

    buffer: Buffer
    layout: Layout
    pitch: int
    image_stride: int
    offset: int = 0
    size: int = F32

    @property
    def address(self) -> Address:
        return Address(self.buffer, self.offset * self.size)


# -- steps -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """An argument: ``offset`` bytes into a buffer."""

    buffer: Buffer
    offset: int = 0


@dataclass(frozen=True)
class Float:
    """An argument: a float32."""

    value: float


Arg = int | Float | Address | np.ndarray
"""What a slot of an argument block may hold; an array stands for the address of its data."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a compiled kernel; ``args`` fill its argument block.

    ``overread`` is how many bytes past the buffer of its first argument the kernel may read (and not
    use); ``conversion`` marks a step that moves a value into another layout rather than computing the site.
    """

    site: str
    kernel: KernelSpec
    args: tuple[Arg, ...]
    macs: int = 0
    nbytes: int = 0
    overread: int = 0
    conversion: bool = False


DeviceArg = int | float | Address | np.ndarray | Tiled | Im2col
"""What a GPU's kernel may be given; a tensor map has an `Address` or an array for its address."""


@dataclass(frozen=True, eq=False)
class DeviceStep:
    """One launch of a GPU's kernel; ``args`` in the order of ``kernel.params``; the rest as in `Step`.

    An address or array for an array parameter stands for all that follows it in its buffer.
    """

    site: str
    kernel: Config
    grid: tuple[int, int, int]
    args: tuple[DeviceArg, ...]
    macs: int = 0
    nbytes: int = 0
    conversion: bool = False


@dataclass(frozen=True, eq=False)
class PythonStep:
    """One call of a Python function on plain arrays: the fallback to an operator's reference.

    ``conversion`` marks a step that moves a value, as in `Step`.
    """

    site: str
    function: Callable[..., tuple[np.ndarray, ...]]
    inputs: tuple[tuple[View, TensorType], ...]
    constants: tuple[np.ndarray, ...]
    outputs: tuple[tuple[View, TensorType], ...]
    conversion: bool = False


@dataclass(frozen=True, eq=False)
class Run:
    """Steps that one part of a team does by itself, in order, for each of the images [first, last)."""

    steps: tuple[Step, ...]
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class StripStep:
    """Steps of several sites in turn, a strip of rows at a time: what lies between them stays in cache.

    ``runs[p]`` is what part p does. The steps are those for image 0; an address in a buffer of ``strides``
    moves by so many bytes from image to image. ``rows`` is the height of a strip of the last site's result.
    """

    sites: tuple[str, ...]
    kernel: KernelSpec
    runs: tuple[tuple[Run, ...], ...]
    strides: Mapping[Buffer, int]
    rows: int

    @property
    def steps(self) -> Iterator[Step]:
        """All steps, of all parts."""
        return (step for runs in self.runs for run in runs for step in run.steps)


AnyStep = Step | PythonStep | StripStep | DeviceStep


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


Way = Callable[[], "Sequence[DeviceStep]"]
"""One of several ways to compute the same thing: makes the steps."""


def first_way(ways: Sequence[Way]) -> Sequence[DeviceStep]:
    """The steps of the way that rules put first."""
    return ways[0]()


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


def aligned(array: np.ndarray, boundary: int = 64) -> np.ndarray:
    """A contiguous copy of ``array`` (or itself) that begins at a multiple of ``boundary`` bytes."""
    if array.flags.c_contiguous and array.ctypes.data % boundary == 0:
        return array
    out = empty_aligned(array.shape, array.dtype, boundary)
    out[...] = array
    return out


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype | type, boundary: int = 64) -> np.ndarray:
    """An uninitialised contiguous array that begins at a multiple of ``boundary`` bytes."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + boundary, np.uint8)
    start = -raw.ctypes.data % boundary
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is not below ``number``."""
    return -(-number // multiple) * multiple
