"""What ONNX's protocol buffers hold, as Python values and arrays.

Large arrays are views of the file or of the message: nothing is copied before it is used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.errors import ModelFileError, NbcnnError, OptionError
from nbcnn.ir.types import DTYPES, PACKED, TensorType

if TYPE_CHECKING:
    import onnx


MAX_FILE = 2**31
MAX_EXTENT = 2**31 - 1
MAX_RANK = 32
MAX_DEPTH = 64


def package() -> Any:
    """The package ``onnx``; raises NbcnnError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.shape_inference
        import onnx.version_converter
    except ImportError:
        raise NbcnnError("ONNX files need the package onnx: pip install 'nbcnn[onnx]'") from None
    return onnx


def read_file(path: Path) -> onnx.ModelProto:
    """The model in the file at ``path``; its external data stays where it is."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ModelFileError("is larger than 2 GiB, which no protocol buffer is")
        return read_bytes(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}") from None


def read_bytes(content: bytes) -> onnx.ModelProto:
    """The model in ``content``; raises ModelFileError where it is none."""
    model = package().ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # the class depends on the implementation of protobuf
        raise ModelFileError(f"is no ONNX model: {' '.join(str(error).split())}") from None
    return model


def check(model: Any) -> None:
    """Raise ModelFileError unless ``model`` is a ModelProto with a graph."""
    if not isinstance(model, package().ModelProto):
        raise OptionError(f"expected a path, bytes or a ModelProto, got {type(model).__name__}")
    if not model.HasField("graph") or not model.opset_import:
        raise ModelFileError("is no ONNX model: it has no graph or no opset")
    # The format does not enforce that text is text; protobuf gives bytes for what is not.
    if any(not isinstance(word, str) for word in _words(model)):
        raise ModelFileError("holds a name that is no text")


def _words(model: onnx.ModelProto) -> Iterator[object]:
    """Every name in the model that anything is looked up by."""
    yield from (o.domain for o in model.opset_import)
    yield from (model.doc_string, model.graph.name, model.graph.doc_string)
    for info in model.graph.input:
        yield from (info.name, *(d.dim_param for d in info.type.tensor_type.shape.dim))
    yield from (o.name for o in model.graph.output)
    for function in model.functions:
        yield from (function.name, function.domain, *(o.domain for o in function.opset_import))
        yield from (*function.input, *function.output, *function.attribute)
    for graph in graphs(model):
        yield from (t.name for t in graph.initializer)
        yield from (o.name for o in graph.output)
    for node in nodes([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (w for a in node.attribute for w in (a.name, a.ref_attr_name, a.t.name))


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph and every subgraph."""
    yield model.graph
    for node in nodes([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        for attribute in node.attribute:
            yield from [attribute.g] if attribute.HasField("g") else attribute.graphs


def nodes(outer: Iterable[onnx.NodeProto], depth: int = 0) -> list[onnx.NodeProto]:
    """The nodes ``outer`` and those of their subgraphs."""
    if depth > MAX_DEPTH:
        raise ModelFileError(f"graphs nest more than {MAX_DEPTH} deep")
    found: list[onnx.NodeProto] = []
    for node in outer:
        found.append(node)
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found += nodes(graph.node, depth + 1)
    return found


def dtype_of(kind: int) -> str:
    """Our name of an ONNX element type; raises ModelFileError for those that are not served."""
    onnx = package()
    try:
        name = onnx.helper.tensor_dtype_to_np_dtype(kind).name
    except (KeyError, ValueError):
        name = ""
    if name not in DTYPES and name not in PACKED:
        names = {v: k for k, v in onnx.TensorProto.DataType.items()}
        raise ModelFileError(f"holds elements of type {names.get(kind, kind)}, which is not served")
    return name


def tensor(proto: onnx.TensorProto, folder: Path | None) -> tuple[TensorType, Callable[[], np.ndarray]]:
    """The type of a tensor and a function that reads it; raises ModelFileError for what cannot be right.

    ``folder`` is where external data may lie; None where there is no folder.
    """
    onnx = package()
    name, dims = proto.name, tuple(proto.dims)
    if not all(0 <= d <= MAX_EXTENT for d in dims) or len(dims) > MAX_RANK:
        raise ModelFileError(f"tensor '{name}' has impossible extents {list(dims[: MAX_RANK + 1])}")
    type_ = TensorType(dims, dtype_of(proto.data_type))
    nbytes = -(-type_.elements() * PACKED[type_.dtype] // 8) if type_.dtype in PACKED else type_.nbytes()
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return type_, _external(proto, type_, folder)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != nbytes:
            raise ModelFileError(
                f"tensor '{name}' holds {len(proto.raw_data):,} bytes, {type_} takes {nbytes:,}"
            )
        return type_, partial(_listed if type_.dtype in PACKED else _raw, proto, type_)
    field = onnx.helper.tensor_dtype_to_field(proto.data_type)
    count = len(getattr(proto, field))
    if type_.dtype not in PACKED and count != math.prod(dims):
        raise ModelFileError(f"tensor '{name}' holds {count:,} elements, {type_} has {math.prod(dims):,}")
    return type_, partial(_listed, proto, type_)


def _raw(proto: onnx.TensorProto, type_: TensorType) -> np.ndarray:
    dtype = np.dtype(type_.dtype)
    array = np.frombuffer(proto.raw_data, dtype.newbyteorder("<") if dtype.kind != "V" else dtype)
    if array.ctypes.data % 8:
        array = array.copy()  # kernels take addresses: keep elements aligned
    return array.astype(dtype, copy=False).reshape(type_.extents())


def _listed(proto: onnx.TensorProto, type_: TensorType) -> np.ndarray:
    return package().numpy_helper.to_array(proto).reshape(type_.extents())


def _external(proto: onnx.TensorProto, type_: TensorType, folder: Path | None) -> Callable[[], np.ndarray]:
    """A view of the file that holds the tensor, which must lie in the folder of the model."""
    name = proto.name
    entries = {e.key: e.value for e in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelFileError(
            f"tensor '{name}' lies in the file '{location}', but a model in memory has no folder"
        )
    path = inside(folder, location, f"the data of tensor '{name}'")
    try:
        offset, length = (int(entries.get(k, "0")) for k in ("offset", "length"))
        size = path.stat().st_size
    except (ValueError, OSError) as error:
        raise ModelFileError(f"the place of tensor '{name}' cannot be read: {error}") from None
    nbytes = type_.nbytes()
    if offset < 0 or offset + nbytes > size or ("length" in entries and length != nbytes):
        raise ModelFileError(f"tensor '{name}' does not fit the file '{location}' ({size:,} bytes)")
    return partial(_mapped, path, offset, type_)


def inside(folder: Path, location: str, what: str) -> Path:
    """The file ``location`` below ``folder``; raises ModelFileError where it is elsewhere or missing."""
    try:
        base = folder.resolve()
        path = (base / location).resolve()
        leaves = os.path.isabs(location) or ".." in Path(location).parts or not path.is_relative_to(base)
        missing = not location or not path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{what}: '{location}' is no usable path: {error}") from None
    if leaves:
        raise ModelFileError(f"{what}: '{location}' leaves the folder of the model")
    if missing:
        raise ModelFileError(f"{what}: there is no file '{location}'")
    return path


def _mapped(path: Path, offset: int, type_: TensorType) -> np.ndarray:
    if not type_.elements():
        return np.empty(type_.extents(), type_.dtype)
    raw = np.memmap(path, np.uint8, "r", offset, (type_.nbytes(),)).view(np.ndarray)
    if offset % 8:
        raw = raw.copy()
    return raw.view(type_.dtype).reshape(type_.extents())


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values: int, float, str, arrays, graphs, tuples of them."""
    onnx = package()
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            raise ModelFileError(f"attribute {attribute.name} refers to one of a function")
        if attribute.name in found:
            raise ModelFileError(f"attribute {attribute.name} is given twice")
        try:
            value = onnx.helper.get_attribute_value(attribute)
        except ValueError as error:
            raise ModelFileError(f"attribute {attribute.name} cannot be read: {error}") from None
        found[attribute.name] = _python(value)
    return found


def _python(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float | str):
        return value
    if hasattr(value, "dims") and hasattr(value, "raw_data"):
        return tensor(value, None)[1]()
    if hasattr(value, "node"):
        return value
    if hasattr(value, "__iter__"):
        return tuple(_python(v) for v in value)
    return value
