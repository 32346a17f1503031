"""What kernels emit: calls of compiled functions, launches on a GPU, calls of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels.layouts import Address, Buffer, View
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.maps import Im2col, Tiled


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


Way = Callable[[], "Sequence[DeviceStep]"]
"""One of several ways to compute the same thing: makes the steps."""


def first_way(ways: Sequence[Way]) -> Sequence[DeviceStep]:
    """The steps of the way that rules put first."""
    return ways[0]()
