"""The text a kernel is made of: its factory's module and all it imports, found without importing.

Only modules of nbcnn and of the importing module's own top-level package count; Numba and
llvmlite enter the cache key by version. A parent package's ``__init__`` counts when something is
imported *from* it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from nbcnn.errors import NbcnnError

# They cannot change generated code: factories get integers only.
_NOT_CODE = {"nbcnn.errors", "nbcnn.target"}


@dataclass(frozen=True)
class _Source:
    sha256: str
    imports: tuple[str, ...]


def digest(modules: tuple[str, ...]) -> str:
    """One sha256 over the text of ``modules`` and of everything they import, transitively.

    Files are read once per process, until ``refresh()``.
    """
    return _digest(tuple(sorted(modules)))


def refresh() -> None:
    """Forget what was read: the next digest looks at the files again."""
    _digest.cache_clear()
    _read.cache_clear()


@cache
def _digest(modules: tuple[str, ...]) -> str:
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module in found or module in _NOT_CODE:
            continue
        source = _read(module)
        found[module] = source.sha256
        pending.extend(source.imports)
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


@cache
def _read(module: str) -> _Source:
    path = _path(module)
    if path is None:
        raise NbcnnError(f"kernel module {module} has no source file")
    text = path.read_bytes()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = dict.fromkeys(_imports(ast.parse(text), package))
    return _Source(hashlib.sha256(text).hexdigest(), tuple(imports))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Modules of nbcnn or of the same top-level package that ``tree`` imports, anywhere in it."""
    ours = {"nbcnn", package.partition(".")[0]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = list(_from_names(node, package))
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in ours and _path(name))


def _from_names(node: ast.ImportFrom, package: str) -> Iterator[str]:
    base = node.module or ""
    if node.level:
        parents = package.split(".")
        parents = parents[: len(parents) - node.level + 1]
        base = ".".join([*parents, base] if base else parents)
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if _path(submodule) else base


@cache
def _path(module: str) -> Path | None:
    """The file of ``module``; only its top-level package is looked up, nothing is imported."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return None
    if not rest:
        return Path(spec.origin)
    base = Path(spec.origin).parent.joinpath(*rest)
    candidates = (base.with_name(base.name + ".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
