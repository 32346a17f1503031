"""Progress bars: on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and what is being done."""


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """A bar that goes away when the block ends; call what it yields to move it."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(escape(title), total=None)

        def move(done: int, total: int, what: str) -> None:
            drawn.update(task, completed=done, total=total, description=escape(f"{title}: {what}"))

        yield move
