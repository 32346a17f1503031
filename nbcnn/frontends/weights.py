"""Weights from safetensors files: mapped into memory, checked, converted, each read when first used.

Tensors with many zeros are stored without them (`nbcnn.frontends.sparse_tensors` has the encoding).
The header is parsed here rather than by the safetensors package, whose NumPy side copies every
tensor and does not know bfloat16; writing uses the package.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from weakref import WeakSet

import numpy as np

from nbcnn.errors import ModelFileError, nearest
from nbcnn.frontends import sparse_tensors
from nbcnn.ir.op import Param
from nbcnn.ir.types import FLOATS as OUR_FLOATS
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Weight

MAX_HEADER = 100 << 20

DTYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "I8": "<i1",
    "BOOL": "?",
}
"""Names of safetensors -> how NumPy reads the bytes (bfloat16 is widened by hand)."""

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file: its dtype, shape and place among the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile:
    """A safetensors file whose header has been checked; no tensor is read until asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.size = file.seek(0, 2)
                file.seek(0)
                length = int.from_bytes(file.read(8), "little")
                if self.size < 8 or not 2 <= length <= min(MAX_HEADER, self.size - 8):
                    self.fail("is no safetensors file, or it is truncated")
                header = file.read(length)
        except OSError as error:
            self.fail(f"cannot be read: {error.strerror}")
        self.start = 8 + length
        self.entries = self._entries(header)
        self.packed = sparse_tensors.parse(self._metadata, self.entries, self.fail)
        self._hide_parts()
        self._map: mmap.mmap | None = None

    def fail(self, message: str) -> NoReturn:
        """Raise ModelFileError about this file."""
        raise ModelFileError(message, where=str(self.path))

    def _entries(self, header: bytes) -> dict[str, Entry]:
        try:
            table = json.loads(header, object_pairs_hook=_once)
            self._metadata = table.pop("__metadata__", None)
            entries = {
                name: Entry(
                    _word(e["dtype"]), tuple(map(_natural, e["shape"])), *map(_natural, e["data_offsets"])
                )
                for name, e in table.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.fail("is no safetensors file: its header cannot be parsed")
        end = 0
        for name, entry in entries.items():
            if entry.dtype not in DTYPES:
                continue  # refused only if the model wants it
            nbytes = math.prod(entry.shape) * np.dtype(DTYPES[entry.dtype]).itemsize
            if entry.end - entry.begin != nbytes:
                self.fail(f"tensor '{name}' does not have the size of its shape")
            end = max(end, entry.end)
        if self.start + end > self.size:
            self.fail(f"is truncated: {self.size:,} of {self.start + end:,} bytes are there")
        return entries

    def _hide_parts(self) -> None:
        """Let a packed tensor stand in ``entries`` as though it were whole."""
        self._parts: dict[str, Entry] = {}
        for name, packed in self.packed.items():
            if not packed.where:
                continue
            for part in (f"{name}.values", packed.where):
                self._parts[part] = self.entries.pop(part)
            values = self._parts[f"{name}.values"]
            self.entries[name] = Entry(values.dtype, packed.shape, values.begin, values.end)

    def kept(self, name: str) -> np.ndarray:
        """Which elements of the packed tensor ``name`` are stored: bool, of its shape."""
        packed = self.packed[name]
        assert packed.where
        (count,) = self._parts[f"{name}.values"].shape
        found = packed.positions(self._raw(self._parts[packed.where]), count, self.fail)
        return found.reshape(packed.shape)

    def read(self, name: str, dtype: str, kept: np.ndarray | None = None) -> np.ndarray:
        """Tensor ``name`` as ``dtype``; a read-only view of the file where nothing is converted.

        ``kept`` is what `kept` gave for it, if it is at hand.
        """
        packed = self.packed.get(name)
        if packed is None or not packed.where:
            return self._converted(name, self._raw(self.entries[name]), dtype)
        values = self._converted(name, self._raw(self._parts[f"{name}.values"]), dtype)
        return sparse_tensors.unpacked(values, self.kept(name) if kept is None else kept)

    def _raw(self, entry: Entry) -> np.ndarray:
        """The elements of ``entry`` as they stand in the file, bfloat16 widened."""
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _mapped.add(self)
        raw = np.frombuffer(self._map, np.uint8, entry.end - entry.begin, self.start + entry.begin)
        if (self.start + entry.begin) % 8:
            raw = raw.copy()  # kernels take addresses: keep elements aligned
        values = raw.view(DTYPES[entry.dtype]).reshape(entry.shape)
        if entry.dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values

    def _converted(self, name: str, values: np.ndarray, dtype: str) -> np.ndarray:
        """``values`` of tensor ``name`` as ``dtype``; refused where they are not finite."""
        if values.dtype.kind == "f" and not _finite(values):
            self.fail(f"tensor '{name}' holds NaN or infinity")
        with np.errstate(over="ignore"):
            result = values.astype(dtype, copy=False)
        if result.itemsize < values.itemsize and not _finite(result):
            self.fail(f"tensor '{name}' holds numbers that are too large for {dtype}")
        return result

    def release_pages(self) -> None:
        """Give the pages that were read back to the system; they are read again when they are used."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)


_mapped: WeakSet[TensorFile] = WeakSet()


def release_pages() -> None:
    """`TensorFile.release_pages` of every file that is mapped."""
    for file in list(_mapped):
        file.release_pages()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("duplicate key")
    return table


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a word")
    return value


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a natural number")
    return value


def _finite(values: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()  # NaN and infinity survive a sum: one pass, no temporary
    return bool(np.isfinite(total) or np.isfinite(values).all())


def bind(params: Mapping[str, Param], file: TensorFile, renames: Mapping[str, str]) -> dict[str, Weight]:
    """A weight from ``file`` for each of ``params``; everything that does not fit is one error.

    ``renames`` maps our name, or the dotted beginning of it, to the file's. Shapes may differ in ones at
    their end: a dense layer's weight [O, I] serves a 1x1 convolution, [O, I, 1, 1].
    """
    names = {name: renamed(name, renames) for name in params}
    missing = [theirs for theirs in names.values() if theirs not in file.entries]
    used = set(names.values()) | {f"{theirs}.mask" for theirs in names.values()}
    unexpected = [n for n in file.entries if n not in used and not n.endswith("num_batches_tracked")]
    wrong = []
    for name, param in params.items():
        entry = file.entries.get(names[name])
        if entry is None:
            continue
        if _trimmed(entry.shape) != _trimmed(param.type.extents()):
            shapes = (list(entry.shape), list(param.type.extents()))
            wrong.append(f"'{names[name]}' is {shapes[0]}, should be {shapes[1]}")
        elif not _convertible(entry.dtype, param.type.dtype):
            wrong.append(f"'{names[name]}' is {entry.dtype}, should be {param.type.dtype}")
    faults = []
    if missing:
        faults.append(f"{_some(missing)} missing")
    if unexpected:
        faults.append(f"{_some(unexpected)} unexpected")
    if wrong:
        faults.append(f"{len(wrong)} of the wrong type: {'; '.join(wrong[:3])}{'; ...' if wrong[3:] else ''}")
    if faults:
        hint = nearest(missing[0], unexpected) if missing and unexpected else ""
        file.fail(f"does not fit the model: {', '.join(faults)}{hint if 'mean' in hint else ''}")
    return {name: _weight(param, file, names[name]) for name, param in params.items()}


def drawn(params: Mapping[str, Param], seed: int) -> dict[str, Weight]:
    """A weight drawn by the seeded initialiser for each of ``params``."""
    from nbcnn.frontends.initialise import draw

    return {
        name: Weight(p.type, partial(draw, p.init, p.type, name, seed), p.trainable, origin=f"seed {seed}")
        for name, p in params.items()
    }


def renamed(name: str, renames: Mapping[str, str]) -> str:
    """``name`` with its longest dotted beginning found in ``renames`` replaced ('' begins every name)."""
    parts = name.split(".")
    for count in range(len(parts), -1, -1):
        if (head := ".".join(parts[:count])) in renames:
            return ".".join(filter(None, [renames[head], *parts[count:]]))
    return name


def _convertible(found: str, wanted: str) -> bool:
    if found not in DTYPES:
        return False
    if found in FLOATS:
        return wanted in OUR_FLOATS
    return np.dtype(DTYPES[found]) == np.dtype(wanted)


def _weight(param: Param, file: TensorFile, name: str) -> Weight:
    packed, mask, kept = file.packed.get(name), None, None
    if packed is not None and packed.masked:
        kept = file.kept(name)
        kept.flags.writeable = False
        mask = kept.reshape(param.type.extents())
    elif f"{name}.mask" in file.entries:
        mask = _mask(file, f"{name}.mask", param.type)
    return Weight(
        param.type,
        partial(_read, file, name, param.type, kept),
        param.trainable,
        mask,
        f"{file.path.name}:{name}",
        packed.sparsity if packed else None,
    )


def _read(file: TensorFile, name: str, type_: TensorType, kept: np.ndarray | None) -> np.ndarray:
    return file.read(name, type_.dtype, kept).reshape(type_.extents())


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without the ones at its end."""
    count = len(shape)
    while count and shape[count - 1] == 1:
        count -= 1
    return shape[:count]


def _mask(file: TensorFile, name: str, type_: TensorType) -> np.ndarray:
    """A mask stored as bool of the weight's shape or as bits packed into uint8."""
    entry, count = file.entries[name], type_.elements()
    if entry.dtype == "BOOL" and entry.shape == type_.extents():
        mask = file.read(name, "bool").copy()
    elif entry.dtype == "U8" and entry.shape == ((count + 7) // 8,):
        bits = np.unpackbits(file.read(name, "uint8"), count=count)
        mask = bits.astype(bool).reshape(type_.extents())
    else:
        file.fail(
            f"mask '{name}' is neither bool {list(type_.extents())} nor packed uint8 [{(count + 7) // 8}]"
        )
    mask.flags.writeable = False
    return mask


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    text = ", ".join(f"'{n}'" for n in listed[:3])
    return f"{len(listed)} ({text}{', ...' if len(listed) > 3 else ''})"


def tensors(weights: Mapping[str, Weight]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file holds for ``weights``, and its metadata.

    Arrays are whole, and masks packed as bits under ``<name>.mask``, but for those with many zeros.
    """
    found: dict[str, np.ndarray] = {}
    for name, weight in weights.items():
        if packed := sparse_tensors.packed(name, weight, weights):
            found |= packed
            continue
        found[name] = np.ascontiguousarray(weight.array).reshape(weight.array.shape)
        if weight.mask is not None:
            if f"{name}.mask" in weights:
                raise ModelFileError(f"the mask of '{name}' and a weight would both be '{name}.mask'")
            found[f"{name}.mask"] = np.packbits(weight.mask)
    return found, sparse_tensors.metadata(weights, found)
