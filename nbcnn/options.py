"""The settings of one compilation: made once by `nbcnn.compile`, read by everything below it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from nbcnn.errors import OptionError, nearest

PRECISIONS = ("float32", "3xtf32", "tf32", "float16", "bfloat16")

MOST_THREADS = 4096
"""Of one inference: what the thread team has room for."""


@dataclass(frozen=True)
class CompileOptions:
    """What `nbcnn.compile` may be told.

    ``threads``: worker threads of one inference (None: as many as this process may use).
    ``device``: which GPU, from 0 on.
    ``precision``: arithmetic of the kernels; never lowered unless asked. On GPUs ``tf32`` and
    ``3xtf32`` multiply float32 on tensor cores (with 11 significant bits; with some 22), ``float16`` and
    ``bfloat16`` also store images so; sums are float32 in all of them.
    ``winograd``: whether convolutions may use Winograd's algorithm, which is faster and rounds
    a little differently.
    ``strips``: whether layers that follow each other may be computed together, some rows at a time, so that
    what lies between them stays in cache; results are the same bit by bit.
    ``tune``: kernels and their tiles are chosen by measuring them on this machine, once, instead of by
    estimates (None: only on GPUs).
    ``keep_values``: every node output stays in memory to be read by `Model.tap` (for debugging:
    the arena grows to the sum of all values).
    ``taps``: names of values that `Model.tap` can read, node outputs or values inside fused nodes. The
    buffers of these alone live to the end, and nothing is taken apart.
    """

    threads: int | None = None
    device: int = 0
    precision: str = "float32"
    winograd: bool = True
    strips: bool = True
    tune: bool | None = None
    keep_values: bool = False
    taps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.threads is not None and (
            isinstance(self.threads, bool)
            or not isinstance(self.threads, int)
            or not 1 <= self.threads <= MOST_THREADS
        ):
            raise OptionError(
                f"threads must be a whole number from 1 to {MOST_THREADS}, got {self.threads!r}"
            )
        if self.precision not in PRECISIONS:
            hint = nearest(str(self.precision), PRECISIONS)
            raise OptionError(f"unknown precision '{self.precision}'{hint}")
        if isinstance(self.device, bool) or not isinstance(self.device, int) or self.device < 0:
            raise OptionError(f"device must be a whole number from 0 on, got {self.device!r}")
        for name in ("winograd", "strips", "tune", "keep_values"):
            if not isinstance(getattr(self, name), bool) and (name, self.tune) != ("tune", None):
                raise OptionError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if isinstance(self.taps, str) or not all(isinstance(name, str) for name in self.taps):
            raise OptionError(f"taps must be names of values, got {self.taps!r}")
        object.__setattr__(self, "taps", tuple(self.taps))

    @classmethod
    def of(cls, **options: Any) -> CompileOptions:
        """Options from keyword arguments; raises OptionError for one that does not exist."""
        known = {f.name for f in fields(cls)}
        for name in options:
            if name not in known:
                raise OptionError(f"unknown option '{name}'{nearest(name, known)}")
        return cls(**options)
