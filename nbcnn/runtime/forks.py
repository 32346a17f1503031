"""Locks that a fork finds free: the forking thread waits for their holders, in a fixed order."""

from __future__ import annotations

import os
import threading


class ForkSafeLock:
    """A lock for ``with``. A child process never inherits it held by a thread that it does not have.

    ``os.fork`` takes every such lock first, the one made last before the others: make a lock that
    is taken inside another one before that other one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire,
                after_in_parent=self._lock.release,
                after_in_child=self._lock.release,
            )

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
