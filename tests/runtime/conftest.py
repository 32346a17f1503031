"""A private cache folder, and a copy of the tiny kernel package that a test may edit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbcnn.runtime import codecache, sources

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    """An empty cache folder for this test and its subprocesses, and no kernels in memory."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(folder))
    monkeypatch.setattr(codecache, "_addresses", {})
    sources.refresh()
    return folder


@pytest.fixture
def tiny(tmp_path, cache_dir, monkeypatch):
    """Folder of a fresh copy of ``tinykernels``, importable here and in subprocesses."""
    shutil.copytree(HERE / "tinykernels", tmp_path / "tinykernels")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tinykernels"]:
        monkeypatch.delitem(sys.modules, name)
    sources.refresh()
    return tmp_path / "tinykernels"


@pytest.fixture
def python():
    """Runs source text in a fresh interpreter; returns what it printed."""

    def run(text: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    return run
