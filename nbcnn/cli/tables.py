"""Tables and figures as the verbs print them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nbcnn.ir.types import TensorType

PIPED_WIDTH = 160


def console() -> Console:
    """A console on stdout; wide when piped, so that no row is folded."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def table(
    *columns: str, right: tuple[str, ...] = (), title: str | None = None, footer: bool = False
) -> Table:
    """An empty table; the columns named in ``right`` hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(
        title=escape(title) if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=footer,
    )
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return drawn


def count(value: int) -> str:
    """25,557,032; nothing for 0."""
    return f"{value:,}" if value else ""


def size(nbytes: int) -> str:
    """196 B, 3.1 KiB, 97.5 MiB."""
    value, units = float(nbytes), ["B", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def shape(type_: TensorType) -> str:
    """N x 3 x 224 x 224, with the dtype where it is not float32."""
    text = " x ".join(map(str, type_.shape)) or "scalar"
    return text if type_.dtype == "float32" else f"{text} {type_.dtype}"
