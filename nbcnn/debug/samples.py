"""What a measurement over many samples is fed: seeded noise, an .npz of arrays, or a folder of images."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbcnn import reference
from nbcnn.debug import inputs
from nbcnn.errors import InputError, ModelFileError, OptionError, nearest
from nbcnn.ir import BATCH, Graph

MOST_BYTES = 4 << 30
"""Of the arrays of a file, unpacked."""


@dataclass(frozen=True)
class Samples:
    """Arrays by input name, a sample in each row, and the class of each sample where it is known."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.inputs.values())))

    def rows(self, which: slice | np.ndarray) -> Samples:
        """Some of the samples."""
        labels = None if self.labels is None else self.labels[which]
        return Samples({name: array[which] for name, array in self.inputs.items()}, labels)


def read(graph: Graph, path: str | Path | None, count: int | None = None, seed: int = 0) -> Samples:
    """The samples at ``path``, at most ``count`` of them, spread evenly; None: 8 of seeded noise.

    An ``.npz`` holds the array ``x`` of the only input, or one for each input by name, and the classes ``y``
    if there are labels. A folder holds images, or a folder of images for each class, called by its label or
    number. Raises ModelFileError for what cannot be read, InputError for what the model does not take.
    """
    if count is not None and count < 1:
        raise OptionError(f"count must be at least 1, got {count}")
    if path is None:
        found = Samples(inputs.seeded(graph, count or 8, seed))
    elif Path(path).is_dir():
        found = _folder(graph, Path(path), count)
    elif Path(path).suffix == ".npz":
        found = _arrays(graph, Path(path))
    else:
        found = Samples(inputs.read(path, graph))
    return _fitting(graph, _spread(found, count))


def fixed_batch(graph: Graph) -> int | None:
    """The number of samples that the model takes at a time, None: any; InputError where inputs differ."""
    found = {type_.shape[:1] for type_ in graph.inputs.values()}
    if found == {(BATCH,)}:
        return None
    if len(found) != 1 or found == {()}:
        raise InputError(f"the inputs of model '{graph.name}' do not share one batch axis")
    return int(*found.pop())


def _spread(found: Samples, count: int | None) -> Samples:
    if count is None or count >= found.count:
        return found
    return found.rows(np.linspace(0, found.count - 1, count).round().astype(int))


def _fitting(graph: Graph, found: Samples) -> Samples:
    """Whole batches, for a model that fixes its batch."""
    batch = fixed_batch(graph)
    if batch is None:
        return found
    if found.count < batch:
        raise InputError(f"model '{graph.name}' takes {batch} samples at a time, there are {found.count}")
    return found.rows(slice(found.count // batch * batch))


def _arrays(graph: Graph, path: Path) -> Samples:
    try:
        with zipfile.ZipFile(path) as file:
            total = sum(entry.file_size for entry in file.infolist())
        if total > MOST_BYTES:
            raise ModelFileError(
                f"holds {total:,} bytes of arrays, more than {MOST_BYTES:,}", where=str(path)
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelFileError(f"cannot be read as arrays: {error}", where=str(path)) from None
    labels = arrays.pop("y", None)
    types = graph.inputs
    if "x" in arrays and "x" not in types and len(types) == 1:
        arrays[next(iter(types))] = arrays.pop("x")
    for name, array in arrays.items():
        if name in types and array.dtype.kind == "f" == np.dtype(types[name].dtype).kind:
            arrays[name] = array.astype(types[name].dtype, copy=False)
    try:
        found = Samples(_bound(graph, arrays))
        if labels is not None:
            if labels.shape != (found.count,) or labels.dtype.kind not in "iu":
                raise InputError(
                    f"y should be {found.count} whole numbers, got {labels.dtype} {labels.shape}"
                )
            found = Samples(found.inputs, labels)
    except InputError as error:
        error.where = str(path)
        raise
    return found


def _bound(graph: Graph, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``arrays`` checked against the types of the inputs, however many samples a fixed batch has."""
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) == 0:
            raise InputError(f"'{name}' holds no samples")
    checked = dict(arrays)
    for name, type_ in graph.inputs.items():
        if name in arrays and type_.shape and isinstance(type_.shape[0], int):
            checked[name] = np.resize(arrays[name][:1], (type_.shape[0], *arrays[name].shape[1:]))
    reference.bind_inputs(graph, checked)
    if len({len(arrays[name]) for name in graph.inputs}) > 1:
        raise InputError("the inputs have different numbers of samples")
    return {name: arrays[name] for name in graph.inputs}


def _folder(graph: Graph, path: Path, count: int | None) -> Samples:
    """The images of a folder, or of its folders, one for each class."""
    from nbcnn.frontends.preprocess import load_image

    places = [(image, 0) for image in _files(path)]
    if labelled := not places:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
        places = [(image, _class(graph, folder)) for folder in folders for image in _files(folder)]
    if not places:
        raise ModelFileError("holds no images, and no folders of images", where=str(path))
    if count is not None and count < len(places):
        places = [places[i] for i in np.linspace(0, len(places) - 1, count).round().astype(int)]
    array = np.concatenate([load_image(image, graph) for image, _ in places])
    labels = np.array([label for _, label in places]) if labelled else None
    return Samples({next(iter(graph.inputs)): array}, labels)


def _files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))


def _class(graph: Graph, folder: Path) -> int:
    """The class that a folder of images is called by."""
    labels = list(graph.meta.get("labels", ()))
    if folder.name in labels:
        return labels.index(folder.name)
    if folder.name.isascii() and folder.name.isdigit():
        return int(folder.name)
    raise ModelFileError(
        f"is no class: it is called neither by a label nor by a number{nearest(folder.name, labels)}",
        where=str(folder),
    )
