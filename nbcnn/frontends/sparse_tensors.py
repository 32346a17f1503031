"""Tensors with many zeros in a safetensors file: the elements that are not zero, and where they stand.

Of a weight ``w`` of n elements the file holds

    w.values    [k]                  the stored elements, in the order of the flattened tensor
    w.bits      U8 [(n + 7) // 8]    a bit for each element, the highest of a byte first, 1: it is stored; or
    w.steps     U8, U16 or U32 [k]   the index of the first stored element, then the distance to each next one

whichever takes less, and its metadata says, as JSON in a string,

    encoding: nbcnn-sparse-1
    sparse: {"w": {"shape": [64, 64, 3, 3], "mask": true, "sparsity": [0.9, 4, "1x4"]}}

With ``mask`` the stored elements are those that the weight's mask keeps, else all whose bits are not 0.
``sparsity`` is the weight's mark (`nbcnn.ir.Sparsity`: zeros, block, pattern), which a tensor that is there
whole may have, too. A weight is stored so where that takes at most 3/4 of the space; others stay as they are,
for everyone to read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nbcnn.ir.weight import Sparsity, Weight
from nbcnn.passes.prune_patterns import PATTERNS

if TYPE_CHECKING:
    from nbcnn.frontends.weights import Entry

ENCODING = "nbcnn-sparse-1"
PART = 3, 4  # the share of the space that it may take
MAX_RANK = 32
STEPS = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32}
BLOCKS = {p.block for p in PATTERNS.values()}

Fail = Callable[[str], NoReturn]


@dataclass(frozen=True, slots=True)
class Packed:
    """What the metadata says of tensor ``name``; ``where`` names that of positions (None: it is whole)."""

    name: str
    shape: tuple[int, ...]
    where: str | None
    masked: bool
    sparsity: Sparsity | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def positions(self, stored: np.ndarray, count: int, fail: Fail) -> np.ndarray:
        """Which elements are stored, bool [n], from the tensor of positions of ``count`` elements."""
        assert self.where
        if self.where.endswith(".bits"):
            found = np.unpackbits(stored, count=self.size).view(bool)
            right = not np.unpackbits(stored[-1:])[(self.size - 1) % 8 + 1 :].any()
        else:
            found = np.zeros(self.size, bool)
            indices = np.cumsum(stored, dtype=np.int64)
            if right := bool(((indices >= 0) & (indices < self.size)).all()):
                found[indices] = True
        if not right or np.count_nonzero(found) != count:
            fail(f"tensor '{self.where}' does not say where the {count:,} elements of '{self.name}' stand")
        return found


def unpacked(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The tensor with ``values`` where ``kept`` is True, in order, and zeros elsewhere."""
    whole = np.zeros(kept.shape, values.dtype)
    whole[kept] = values
    return whole


def packed(name: str, weight: Weight, taken: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The tensors that stand for ``weight``, or None where it stays whole.

    So it does, too, where one of the names is that of another weight, in ``taken``.
    """
    array = np.ascontiguousarray(weight.array).reshape(-1)
    if weight.mask is not None:
        stored = weight.mask.reshape(-1)
        nbytes = array.nbytes + (array.size + 7) // 8
    else:
        stored = array.view(f"u{array.itemsize}") != 0  # a negative zero is stored
        nbytes = array.nbytes
    room = nbytes * PART[0] // PART[1]
    count = int(np.count_nonzero(stored))
    if count * array.itemsize > room:
        return None
    found = {f"{name}.values": array[stored]} | _positions(name, stored, count)
    if sum(part.nbytes for part in found.values()) > room:
        return None
    return found if not found.keys() & taken.keys() else None


def _positions(name: str, stored: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """The tensor that says which ``count`` elements are stored: as steps where these take less than bits."""
    if count < len(stored) // 8:
        steps = np.diff(np.flatnonzero(stored), prepend=0)
        widest = int(steps.max(initial=0))
        kind = next((t for t in STEPS.values() if widest <= np.iinfo(t).max), None)
        if kind is not None and count * np.dtype(kind).itemsize < (len(stored) + 7) // 8:
            return {f"{name}.steps": steps.astype(kind)}
    return {f"{name}.bits": np.packbits(stored)}


def metadata(weights: Mapping[str, Weight], tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What the file says of those of ``weights`` that are packed or marked, given its ``tensors``."""
    entries = {}
    for name, weight in weights.items():
        entry: dict[str, Any] = {}
        if name not in tensors:
            entry["mask"] = weight.mask is not None
        if weight.sparsity:
            entry["sparsity"] = astuple(weight.sparsity)
        if entry:
            entries[name] = {"shape": list(weight.type.extents())} | {k: v for k, v in entry.items() if v}
    return {"encoding": ENCODING, "sparse": json.dumps(entries, allow_nan=False)} if entries else {}


def parse(found: object, entries: Mapping[str, Entry], fail: Fail) -> dict[str, Packed]:
    """The packed and marked tensors of a file with metadata ``found`` and these ``entries``."""
    if not isinstance(found, dict) or "encoding" not in found:
        return {}
    if found["encoding"] != ENCODING:
        fail(f"has the encoding {str(found['encoding'])[:40]!r}, known is '{ENCODING}'")
    try:
        table = json.loads(found["sparse"])
        return {name: _entry(name, entry, entries) for name, entry in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fail("has metadata of sparse tensors that cannot be parsed, or that do not fit its tensors")


def _entry(name: str, entry: Any, entries: Mapping[str, Entry]) -> Packed:
    if entry.keys() - {"shape", "mask", "sparsity"}:
        raise ValueError("unknown key")
    shape, masked, mark = tuple(entry["shape"]), entry.get("mask", False), entry.get("sparsity")
    if len(shape) > MAX_RANK or any(type(n) is not int or not 1 <= n < 2**31 for n in shape):
        raise ValueError("no shape")
    if type(masked) is not bool or (masked and f"{name}.mask" in entries):
        raise ValueError("no mask, or two")
    packed = Packed(name, shape, None, masked, None if mark is None else _mark(*mark))
    if name in entries:
        if entries[name].shape != shape or masked or f"{name}.values" in entries:
            raise ValueError("it is whole")
        return packed
    (where,) = (w for w in (f"{name}.bits", f"{name}.steps") if w in entries)
    values, positions = entries[f"{name}.values"], entries[where]
    bits = positions.dtype == "U8" and positions.shape == ((packed.size + 7) // 8,)
    steps = positions.dtype in STEPS and positions.shape == values.shape
    if len(values.shape) != 1 or not (bits if where.endswith(".bits") else steps):
        raise ValueError("parts of other shapes")
    return replace(packed, where=where)


def _mark(zeros: float, block: int, pattern: str) -> Sparsity:
    if not (0 <= zeros <= 1 and block in BLOCKS and pattern in PATTERNS):
        raise ValueError("no sparsity")
    return Sparsity(float(zeros), block, pattern)
