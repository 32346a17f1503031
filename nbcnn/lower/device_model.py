"""A model on a GPU: arrays may stay on the device, steps are timed by its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from nbcnn.errors import InputError
from nbcnn.ir.types import TensorType
from nbcnn.kernels.cuda.packing import from_kind
from nbcnn.kernels.layouts import PLAIN, View
from nbcnn.lower.model import Model
from nbcnn.runtime.cuda.arrays import borrow
from nbcnn.runtime.cuda.program import DeviceContext, DeviceProgram, Place
from nbcnn.runtime.cuda.simt import STORAGE
from nbcnn.target import CudaTarget

Seconds = TypeVar("Seconds", float, list[float])


class DeviceModel(Model):
    """A network compiled for a GPU. Calls are safe from any thread; outputs belong to the caller.

    Inputs may be arrays of the host, or lie on the device (PyTorch, CuPy, an output of another call: anything
    with ``__cuda_array_interface__`` or DLPack): then nothing is copied, and the outputs are `DeviceArray`.
    """

    _program: DeviceProgram
    target: CudaTarget

    def seconds(self, /, *args: Any, repeats: int = 20, **named: Any) -> float:
        """Seconds of one inference on the device, the median of ``repeats`` by its clock.

        Inputs and outputs lie there, and steps in Python do not count.
        """
        return self._timed(*self._inputs(args, named), lambda context: context.whole(repeats))

    def _call(self, args: tuple[Any, ...], named: Mapping[str, Any], walk: Any = None) -> Any:
        """``walk``, by which streams of the CPU keep to their own threads, means nothing here."""
        outputs = self._program.run(*self._inputs(args, named))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def _take(self, name: str, type_: TensorType, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return super()._take(name, type_, value)
        try:
            lent = borrow(value, self._program.launcher, self._program.entry)
        except InputError as error:
            raise InputError(f"input '{name}': {error}") from error
        if lent is None:
            return super()._take(name, type_, value)
        if lent.dtype != type_.dtype:
            raise InputError(f"input '{name}' should be {type_}, got dtype {lent.dtype}")
        return lent

    def _seconds(
        self, batch: int, inputs: dict[str, Any], repeats: int
    ) -> tuple[np.ndarray, dict[tuple[int, str], float]]:
        return np.array(self._timed(batch, inputs, lambda context: context.seconds(repeats))), {}

    def _timed(
        self, batch: int, inputs: dict[str, Any], clock: Callable[[DeviceContext], Seconds]
    ) -> Seconds:
        """What ``clock`` finds in a context that has run once."""
        program, plan = self._program, self._program.plan(batch)
        context = program.acquire(plan)
        outputs = program.execute(plan, context, inputs)  # their memory is written again
        found = clock(context)
        del outputs
        program.release(plan, context)
        return found

    def _memory(self, context: DeviceContext, offset: int, view: View, type_: TensorType) -> np.ndarray:
        stored = type_.dtype if view.layout == PLAIN else STORAGE[self.target.kind]
        found = np.empty(view.buffer.nbytes // np.dtype(stored).itemsize, stored)
        context.read(Place("arena", "", offset, view.buffer.nbytes), found)
        if view.layout == PLAIN:
            return found
        return from_kind(self.target.kind, found).astype(np.float32)
