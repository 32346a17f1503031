"""Tables of kernel records: ``module:Class`` below a package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbcnn.kernels.base import Kernel


def load(package: str, entries: Iterable[str]) -> tuple[Kernel, ...]:
    """One instance of every record that ``entries`` name."""
    found = []
    for entry in entries:
        module, name = entry.split(":")
        found.append(getattr(import_module(f"{package}.{module}"), name)())
    return tuple(found)
