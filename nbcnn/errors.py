"""Errors for a user's mistakes: one line that says what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class NbcnnError(Exception):
    """A mistake that the user can mend; the command line prints it as one line and exits with 2.

    ``where`` is a prefix such as ``model.yaml:12:5`` and ``node`` names the graph node at fault;
    both are added as the error travels outwards, so that ops need not know in which file they stand.
    ``details`` are further lines, for what is one mistake in several places.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        where: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.where = where
        self.details = tuple(details)

    def __str__(self) -> str:
        node = f"node '{self.node}': " if self.node else ""
        where = f"{self.where}: " if self.where else ""
        return "\n  ".join([f"{where}{node}{self.message}", *self.details])


class ShapeError(NbcnnError):
    """Operand types that an operator cannot take, or weights whose type does not fit."""


class GraphError(NbcnnError):
    """A graph whose structure is broken: unknown or doubly defined names, cycles."""


class ModelFileError(NbcnnError):
    """A model, pipeline, weights, labels or image file that cannot be read as what it should be."""


class PassError(NbcnnError):
    """An unknown pass or pass option, or a pass that broke its contract."""


class OptionError(NbcnnError):
    """An option or argument with a value that does not make sense."""


class InputError(NbcnnError):
    """An array given to a compiled model that is not what the model takes."""


class CacheError(NbcnnError):
    """A kernel cache folder that cannot be trusted or used."""


class DeviceError(NbcnnError):
    """A GPU that is not there, cannot be used, has too little memory or reports a failure."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint for an unknown ``word``: ``"; did you mean 'relu6'?"``, or the choices when few, or nothing."""
    known = sorted(set(choices))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if len(known) <= 12:
        return f"; expected one of: {', '.join(known)}"
    return ""
