"""Pipeline files as plain data whose words and mappings remember where they stand.

Only the structure is PyYAML's; scalars follow the YAML 1.2 core schema, and no tag is resolved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nbcnn.errors import ModelFileError
from nbcnn.passes.text import scalar

# Far above any pipeline, far below what aliases can grow to.
_MOST = 10_000
_DEEPEST = 32


class Word(str):
    """A string of the file; ``where`` is ``file:line:column``."""

    where: str


class Entries(dict[str, Any]):
    """A mapping of the file."""

    where: str


def read(path: Path) -> Any:
    """The data of the file at ``path``; raises ModelFileError where it is not what it should be."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ModelFileError(f"is not UTF-8 text (byte {error.start})", where=str(path)) from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "nested too deep"
        raise ModelFileError(f"malformed YAML: {problem}", where=where) from None
    return _Conversion(path).data(root) if root else None


class _Conversion:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def data(self, node: yaml.Node, depth: int = 0) -> Any:
        where = f"{self.path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        self.count += 1
        if self.count > _MOST or depth > _DEEPEST:
            limits = f"{_MOST:,} items or {_DEEPEST} levels"
            raise ModelFileError(f"more than {limits}, aliases included", where=where)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise ModelFileError(f"tag '{node.tag}' is refused: a pipeline holds plain data", where=where)
        if isinstance(node, yaml.SequenceNode):
            return [self.data(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            entries = Entries()
            entries.where = where
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value in entries:
                    what = f"duplicate key '{key.value}'" if key.value in entries else "a key must be a word"
                    raise ModelFileError(what, where=where)
                entries[key.value] = self.data(value, depth + 1)
            return entries
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if plain and not node.value:
            return None
        value = scalar(node.value) if plain else node.value
        if isinstance(value, str):
            value = Word(value)
            value.where = where
        return value
