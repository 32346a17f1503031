from pathlib import Path

import numpy as np
import pytest

from nbcnn.bench.engines import Engine, Task


@pytest.fixture
def fake(monkeypatch):
    """Makes records of engines in ``bench_fakes``, which workers can then import."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def make(name, kind="Sleeper", peer=True, **options):
        return Engine(name, f"bench_fakes:{kind}", peer=peer, options=options)

    return make


@pytest.fixture
def task(tmp_path):
    """A task with an input and without a model."""
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 2, 2)
    np.savez(tmp_path / "inputs.npz", x, names=np.array(["image"]))
    return Task(str(tmp_path), threads=2)
