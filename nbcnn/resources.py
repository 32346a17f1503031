"""Where the models and pipelines that come with nbcnn are."""

from __future__ import annotations

from pathlib import Path

from nbcnn.errors import ModelFileError, nearest

_PACKAGE = Path(__file__).resolve().parent


def folder(kind: str) -> Path:
    """The folder with ``kind`` (graphs, passes): the repository's, else the one in the wheel."""
    checkout = _PACKAGE.parent / kind
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    return _PACKAGE / "_data" / kind


def names(kind: str) -> list[str]:
    """Names of the models (``graphs``) or pipelines (``passes``) that come with nbcnn."""
    return sorted(path.stem for path in folder(kind).glob("*.yaml"))


def find(kind: str, name: str | Path) -> Path:
    """The file of a model or pipeline: a path as it is, a bare name among those that come with nbcnn.

    Anything with a folder or a suffix is a path. Raises ModelFileError, with the nearest name.
    """
    path = Path(name)
    if path.name != str(name) or path.suffix in (".yaml", ".yml", ".onnx"):
        if not path.is_file():
            raise ModelFileError(
                "is a folder, not a file" if path.is_dir() else "no such file", where=str(path)
            )
        return path
    known = names(kind)
    if str(name) not in known:
        what = "model" if kind == "graphs" else "pipeline"
        raise ModelFileError(f"no {what} is called '{name}', and it is no path{nearest(str(name), known)}")
    return folder(kind) / f"{name}.yaml"
