"""The oracle: a graph run operator by operator in plain NumPy, and how far any other result may be off.

`run` and `values` give the answer, in the graph's dtypes or all of it in float32 or float64. `bound`
and `excess` judge an implementation of one operator: a float32 kernel is right when every element
lies within the bound that follows from its operands, its reduction length and the unit roundoff.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from nbcnn.errors import InputError, nearest
from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType

Arrays = tuple[np.ndarray, ...]


def run(
    graph: Graph,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    dtype: type[np.floating] | None = None,
    keep: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """The graph's results by public name, then the values that ``keep`` names.

    ``inputs`` maps input names to arrays, or is the array of the only input. ``dtype`` (np.float32 or
    np.float64) is what all floats are cast to first; None keeps the graph's types. Raises InputError
    for inputs that do not fit, GraphError for an unknown name in ``keep``.
    """
    keep = list(keep or ())
    for name in keep:
        graph.type(name)
    wanted = {*graph.outputs.values(), *keep}
    found = {k: a for k, a in bind_inputs(graph, inputs, dtype).items() if k in wanted}
    for node, _, outputs in values(graph, inputs, dtype):
        found.update((v, a) for v, a in zip(node.outputs, outputs, strict=True) if v in wanted)
    for name in wanted:
        if graph.is_weight(name):
            found[name] = _cast(graph.weight(name).array, dtype)
    results = {public: found[value] for public, value in graph.outputs.items()}
    return results | {name: found[name] for name in keep}


def values(
    graph: Graph,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    dtype: type[np.floating] | None = None,
) -> Iterator[tuple[Node, Arrays, Arrays]]:
    """(node, operands, results) for each node in order; a value is freed after its last reader."""
    alive = bind_inputs(graph, inputs, dtype)
    readers = Counter(v for node in graph.nodes for v in node.inputs)
    for node in graph.nodes:
        operands = tuple(
            _cast(graph.weight(v).array, dtype) if graph.is_weight(v) else alive[v] for v in node.inputs
        )
        results = node.op.reference(*operands)
        alive.update(zip(node.outputs, results, strict=True))
        for value in (*node.inputs, *node.outputs):
            readers[value] -= value in node.inputs
            if readers[value] <= 0:
                alive.pop(value, None)
        yield node, operands, results


def bind_inputs(
    graph: Graph,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    dtype: type[np.floating] | None = None,
) -> dict[str, np.ndarray]:
    """The input arrays by name, checked against the graph's types and cast to ``dtype``.

    Raises InputError for a missing or unknown name, a wrong shape (one batch for all inputs) or, when
    nothing is cast, a wrong dtype.
    """
    types = graph.inputs
    if not isinstance(inputs, Mapping):
        if len(types) != 1:
            raise InputError(
                f"graph '{graph.name}' takes {len(types)} inputs: {', '.join(types)}; got one array"
            )
        inputs = dict.fromkeys(types, inputs)
    for name in inputs:
        if name not in types:
            raise InputError(f"graph '{graph.name}' has no input '{name}'{nearest(name, types)}")
    bound: dict[str, np.ndarray] = {}
    symbols: dict[str, int] = {}
    for name, type_ in types.items():
        if name not in inputs:
            raise InputError(f"input '{name}' {type_} is missing")
        array, want = np.asarray(inputs[name]), type_
        if dtype is not None and type_.dtype.startswith("float"):
            array, want = _cast(array, dtype), TensorType(type_.shape, np.dtype(dtype).name)
        if not _fits(array, want, symbols):
            known = f" with {', '.join(f'{k} = {v}' for k, v in symbols.items())}" if symbols else ""
            got = TensorType(array.shape, array.dtype.name)
            raise InputError(f"input '{name}' should be {type_}{known}, got {got}")
        bound[name] = array
    return bound


def bound(
    op: Op,
    arrays: Sequence[np.ndarray],
    dtype: type[np.floating] = np.float32,
    factor: float = 1.0,
    tile: int = 1,
) -> Arrays:
    """How far each element of ``op``'s results may lie from the float64 reference on ``arrays``.

    ``arrays`` are the operands as the implementation read them (data, then weights), ``dtype`` what it
    computes in. Each operator derives its bound from its sums (`Op.error`, `nbcnn.ops.rounding`); a
    fused operator carries it through its body. Added are the oracle's own float64 roundings and, for
    denormals flushed to zero, the smallest normal number once per term.

    ``factor`` multiplies the bound, for algorithms that pay more than one rounding a term. Winograd
    transforms also mix neighbours: with ``tile`` m each element gets the largest bound within m - 1
    rows and columns (F(m x m, 3 x 3) computes m x m outputs from one tile of inputs). Without a float
    among the operands nothing may be off.
    """
    exact = [_cast(a, np.float64) for a in arrays]
    if all(a.dtype.kind != "f" for a in exact):
        return tuple(np.zeros(r.shape) for r in op.reference(*exact))
    unit = float(np.finfo(dtype).eps + 2 * np.finfo(np.float64).eps) / 2
    limits = op.error(exact, [np.zeros_like(a) for a in exact], unit)
    terms = op.reduction([TensorType(a.shape) for a in arrays])
    floor = terms * float(np.finfo(dtype).smallest_normal)
    return tuple(factor * _spread(limit, tile) + floor for limit in limits)


def excess(
    op: Op,
    arrays: Sequence[np.ndarray],
    results: Sequence[np.ndarray] | np.ndarray,
    factor: float = 1.0,
    tile: int = 1,
    stored: float = 0.0,
) -> float:
    """The largest error of ``results`` in units of its `bound`: at most 1 when all are right.

    ``stored`` is the unit roundoff of the type that results are rounded to as they are stored, if that is
    narrower than float32: 2^-11 for float16, 2^-8 for bfloat16. Infinite where only one of result and
    reference is NaN or infinite, or shapes differ.
    """
    if isinstance(results, np.ndarray):
        results = (results,)
    exact = op.reference(*(_cast(a, np.float64) for a in arrays))
    floats = [a.dtype.type for a in (*results, *arrays) if a.dtype.kind == "f"]
    limits = bound(op, arrays, floats[0] if floats else np.float32, factor, tile)
    worst = 0.0
    for got, want, limit in zip(results, exact, limits, strict=True):
        if got.shape != want.shape:
            return np.inf
        with np.errstate(invalid="ignore", divide="ignore"):
            same = (got == want) | ((got != got) & (want != want))  # both NaN
            if stored:
                limit = limit + stored * (abs(want) + limit) + 2.0**-25
            ratio = np.where(same, 0, abs(got.astype(np.float64) - want) / limit)
        worst = max(worst, float(np.nan_to_num(ratio, nan=np.inf).max(initial=0)))
    return worst


def _cast(array: np.ndarray, dtype: type[np.floating] | None) -> np.ndarray:
    """``array`` with floats cast to ``dtype``; other kinds stay."""
    return array.astype(dtype, copy=False) if dtype is not None and array.dtype.kind == "f" else array


def _fits(array: np.ndarray, type_: TensorType, symbols: dict[str, int]) -> bool:
    """Whether ``array`` is of ``type_``; binds the symbols it meets first."""
    if array.dtype.name != type_.dtype or array.ndim != type_.rank:
        return False
    for want, got in zip(type_.shape, array.shape, strict=True):
        if got != (symbols.setdefault(want, got) if isinstance(want, str) else want):
            return False
    return True


def _spread(limit: np.ndarray, tile: int) -> np.ndarray:
    """The largest of ``limit`` [N, C, H, W] within tile - 1 rows and columns of each element."""
    if tile == 1 or limit.ndim != 4:
        return limit
    wide = np.pad(limit, ((0, 0), (0, 0), (tile - 1,) * 2, (tile - 1,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (2 * tile - 1, 2 * tile - 1), axis=(2, 3))
    return windows.max(axis=(4, 5))
