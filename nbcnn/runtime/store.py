"""A folder of object files named by content key: checked on reading, replaced atomically.

The folder holds executable code, so it must belong to the user (or root) and be writable by nobody
else. Environment: ``NBCNN_CACHE_DIR`` names it; else it is the platform's per-user cache folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

from nbcnn.errors import NbcnnError

LIMIT = 512 << 20  # bytes; oldest-used files go first
_MAGIC = b"nbcnn.o1"
_SUFFIX = ".nbo"
_USE_STAMP = 3600  # seconds: how coarsely the time of last use is kept
_warned = False


def folder() -> Path:
    """The cache folder in force; it may not exist yet."""
    chosen = os.environ.get("NBCNN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    with suppress(RuntimeError):  # a user without a home, as in many containers
        home = _user_cache() / "nbcnn"
        if _can_make(home):
            return home
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"nbcnn-{user}"


def read(name: str, key: str) -> bytes | None:
    """The payload stored under ``key``, or None if there is none or its file is damaged."""
    path = folder() / _file(name, key)
    try:
        blob = path.read_bytes()
    except OSError:
        return None
    _check_owner(path.parent)
    head, payload = blob[: len(_MAGIC) + 64], blob[len(_MAGIC) + 64 :]
    if head != _MAGIC + _seal(key, payload):
        return None
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _USE_STAMP:
            os.utime(path)
    return payload


def write(name: str, key: str, payload: bytes) -> None:
    """Store ``payload``; where that fails, warn once and go on without."""
    target = folder()
    temporary = None
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(target)
        handle, temporary = tempfile.mkstemp(dir=target, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + _seal(key, payload) + payload)
        os.replace(temporary, target / _file(name, key))  # readers see the old file or the new
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        _warn(f"compiled kernels are not kept: cannot write to {target} ({error.strerror})")
        return
    _prune(target)


def info() -> dict[str, object]:
    """Folder, number of files, bytes, and the limit in bytes."""
    files = _files(folder())
    size = sum(status.st_size for _, status in files)
    return {"folder": str(folder()), "files": len(files), "bytes": size, "limit": LIMIT}


def clear() -> int:
    """Remove every stored file; returns how many."""
    files = _files(folder())
    for path, _ in files:
        with suppress(OSError):
            path.unlink()
    return len(files)


def _file(name: str, key: str) -> str:
    return f"{name}-{key[:40]}{_SUFFIX}"


def _seal(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).hexdigest().encode()


def _files(where: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    with suppress(OSError):
        for entry in os.scandir(where):
            if entry.name.endswith((_SUFFIX, ".tmp")):
                with suppress(OSError):  # another process may remove it meanwhile
                    found.append((Path(entry.path), entry.stat()))
    return found


def _prune(where: Path) -> None:
    files = _files(where)
    size = sum(status.st_size for _, status in files)
    for path, status in sorted(files, key=lambda item: item[1].st_mtime):
        if size <= LIMIT:
            return
        with suppress(OSError):
            path.unlink()
            size -= status.st_size


def _check_owner(where: Path) -> None:
    """Refuse a folder into which another user could have put code."""
    if os.name != "posix":  # per-user folders on Windows are private by their access lists
        return
    status = where.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise NbcnnError(f"cache folder {where} belongs to another user; set NBCNN_CACHE_DIR")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NbcnnError(f"cache folder {where} is writable by others: chmod go-w {where}")


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _can_make(where: Path) -> bool:
    if where.is_dir():
        return True  # a read-only one still gives hits
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return True


def _warn(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=4)
