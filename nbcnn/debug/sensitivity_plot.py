"""A picture of sensitivities: a row for each layer, a column for each share, the error as a colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nbcnn.debug.sensitivity import Sensitivity
from nbcnn.errors import OptionError

SUFFIXES = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Raise OptionError where `plot` could not write ``path``: before anything is measured."""
    if path.suffix not in SUFFIXES:
        raise OptionError(f"--plot {path}: the name must end in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise OptionError(f"--plot {path}: there is no folder '{path.parent}'")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OptionError("--plot needs matplotlib: pip install 'nbcnn[plot]'") from None


def plot(found: Sensitivity, path: Path, chosen: Mapping[str, float] | None = None) -> None:
    """Write the picture to ``path``; a ring marks the share ``chosen`` for a layer."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    errors = np.array([entry.errors for entry in found.entries]).reshape(len(found.entries), -1)
    finite = errors[np.isfinite(errors) & (errors > 0)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.1, 1.0)
    rows, columns = errors.shape
    figure = Figure(figsize=(2.5 + 0.6 * columns, 1.5 + 0.22 * rows), layout="constrained")
    axes = figure.add_subplot()
    norm = LogNorm(low, max(high, low * 1.001), clip=True)
    image = axes.imshow(np.nan_to_num(errors, posinf=high), norm=norm, aspect="auto", cmap="viridis")
    names = [entry.layer.name for entry in found.entries]
    axes.set_xticks(range(columns), [f"{share:.0%}" for share in found.shares])
    axes.set_yticks(range(rows), names, fontsize=7)
    axes.set_xlabel("zeros")
    axes.set_title(f"{found.model}: error when one layer is pruned", fontsize=9)
    at = [(found.shares.index(share), names.index(name)) for name, share in (chosen or {}).items()]
    if at:
        axes.scatter(*zip(*at, strict=True), s=25, facecolors="none", edgecolors="red")
    figure.colorbar(image, label="relative error")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise OptionError(f"--plot {path}: {error.strerror}") from None
