"""Launching: every block of the grid, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import product
from typing import Any

from nbcnn.runtime.cuda.launcher import Launch

from .bind import bind
from .machine import Block, Timing
from .memory import Device


def run(
    device: Device, launch: Launch, timing: Timing | None = None, make: Callable[..., Any] | None = None
) -> None:
    """Run ``launch`` on ``device``; ``make`` replaces the configuration's own kernel factory."""
    if make is None:
        module, _, name = launch.config.factory.partition(":")
        make = getattr(import_module(module), name)
    kernel = make(bind, launch.config)
    for z, y, x in product(*map(range, reversed(launch.grid))):
        block = Block(
            device, launch.grid, (x, y, z), launch.config.threads, launch.config.smem, timing or Timing()
        )
        block.run(kernel, launch.args)
