"""What a bench is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nbcnn.errors import OptionError, nearest

Progress = Callable[[str, int, int], None]
"""Called with what happens now, the steps done and the steps in all."""


AGAINST = {"cpu": ("onnxruntime", "openvino", "torch"), "cuda": ("torch",)}
"""By target of nbcnn, the engines to measure unless others are named."""


def silent(what: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Job:
    """A model to measure against other engines.

    ``model`` is a zoo name or a path; ``streams`` are requests in flight at a time, each on
    ``threads`` threads; ``passes`` is a pipeline's name, path or text; ``tune`` has nbcnn choose its kernels
    by timing them (None: on GPUs); ``against`` names rows of ``engines.ENGINES`` (None: `AGAINST`);
    ``warmup`` is calls before the first block; ``time`` is seconds of measurement per engine (5 blocks of
    half a second at least); ``progress`` is called with what happens, steps done and steps in all.
    """

    model: str
    batch: int = 1
    threads: int = 1
    streams: int = 1
    passes: str = "default"
    precision: str = "float32"
    tune: bool | None = None
    against: tuple[str, ...] | None = None
    warmup: int = 10
    time: float = 3.0
    profile: bool = False
    target: str = "cpu"
    progress: Progress = field(default=silent, compare=False)

    def __post_init__(self) -> None:
        if self.target not in AGAINST:
            raise OptionError(f"unknown target '{self.target}'{nearest(str(self.target), AGAINST)}")
        for name in ("batch", "threads", "streams"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.warmup < 0:
            raise OptionError(f"warmup must not be negative: {self.warmup}")
        if not 0 < self.time <= 3600:
            raise OptionError(f"time must be between 0 and 3600 seconds, not {self.time:g}")
