"""The inputs of an ONNX model: their types, and what becomes of open extents.

The first extent of the first input that leaves it open is the batch ``N``, whatever the file calls it; so is
the first extent of another input that bears the same name or none. Every other open extent has to be bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.errors import ModelFileError, OptionError, nearest
from nbcnn.frontends.onnx import proto
from nbcnn.ir.types import BATCH, Dim, TensorType

if TYPE_CHECKING:
    import onnx


def declared(model: onnx.ModelProto) -> dict[str, TensorType]:
    """The types of the inputs that are no initialisers; symbols are ``N`` or names to be bound."""
    given = {t.name for t in model.graph.initializer}
    found: dict[str, TensorType] = {}
    batch: str | None = None
    for info in model.graph.input:
        if info.name in given:
            continue
        if not info.type.HasField("tensor_type"):
            raise ModelFileError(f"input '{info.name}' is no tensor")
        tensor = info.type.tensor_type
        if not tensor.HasField("shape"):
            raise ModelFileError(f"input '{info.name}' has no shape")
        dims: list[Dim] = []
        for place, dim in enumerate(tensor.shape.dim):
            extent = _extent(info.name, place, dim)
            if isinstance(extent, str) and place == 0:
                batch = batch or extent
                extent = BATCH if extent == batch or not dim.dim_param else extent
            dims.append(extent)
        found[info.name] = TensorType(tuple(dims), proto.dtype_of(tensor.elem_type))
    if batch and any(batch in t.shape[1:] for t in found.values()):  # it stands elsewhere too: to be bound
        found = {k: TensorType((batch, *t.shape[1:]), t.dtype) if t.shape[:1] == (BATCH,) else t
                 for k, t in found.items()}  # fmt: skip
    return found


def _extent(name: str, place: int, dim: Any) -> Dim:
    """A number, or the symbol that the file or we call the extent."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        if dim.dim_value > proto.MAX_EXTENT:
            raise ModelFileError(f"input '{name}' has an extent of {dim.dim_value}, over {proto.MAX_EXTENT}")
        return int(dim.dim_value)
    return dim.dim_param or f"{name}_{place}"


def open_extents(types: Mapping[str, TensorType]) -> set[str]:
    """The symbols other than the batch."""
    return set().union(*(t.symbols() for t in types.values())) - {BATCH}


def bound(
    types: Mapping[str, TensorType],
    shapes: Mapping[str, int],
    constants: Mapping[str, np.ndarray] | None = None,
) -> dict[str, TensorType]:
    """``types`` with their symbols bound by ``shapes``; raises where one other than the batch stays open.

    The batch may be bound too, as ``N``. Inputs that are ``constants`` have the types of the arrays.
    """
    constants = constants or {}
    symbols = open_extents(types) | {BATCH}
    for name, value in shapes.items():
        if name not in symbols:
            raise OptionError(f"shapes: no input has the symbol '{name}'{nearest(name, symbols)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= proto.MAX_EXTENT:
            raise OptionError(f"shapes: '{name}' must be a whole number that is not negative, got {value!r}")
    for name in constants:
        if name not in types:
            raise OptionError(f"constants: there is no input '{name}'{nearest(name, types)}")
    found = {name: type_.bind(shapes) for name, type_ in types.items()}
    for name, type_ in found.items():
        if name in constants:
            found[name] = got = TensorType(constants[name].shape, constants[name].dtype.name)
            fits = len(got.shape) == type_.rank and got.dtype == type_.dtype
            if not fits or any(
                a != b for a, b in zip(type_.shape, got.shape, strict=True) if isinstance(a, int)
            ):
                raise OptionError(f"constants: input '{name}' is {type_}, got {got}")
        for symbol in sorted(found[name].symbols() - {BATCH}):
            raise ModelFileError(
                f"the extent '{symbol}' of input '{name}' is open: give shapes={{'{symbol}': ...}}"
            )
    return found


def extents_of(types: Mapping[str, TensorType], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The numbers that arrays of ``shapes`` give to the symbols other than the batch."""
    found: dict[str, int] = {}
    for name, type_ in types.items():
        for symbol, extent in zip(type_.shape, shapes[name], strict=False):
            if isinstance(symbol, str) and symbol != BATCH:
                found.setdefault(symbol, extent)
    return found
