"""The rules of the house that no other test sees: floors, lazy imports, tables, length of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbcnn import ops, passes
from nbcnn.bench.remote import environment

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 400
HEAVY = ("numba", "numpy", "networkx", "pydantic", "onnx", "rich", "yaml", "PIL")


def test_floors(monkeypatch, capsys) -> None:
    """The contracts in .importlinter."""
    linter = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    broken = linter.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert broken == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "code",
    [
        "import nbcnn; dir(nbcnn); nbcnn.load, nbcnn.compile, nbcnn.NbcnnError",
        "import nbcnn.cli; nbcnn.cli.main()",
    ],
    ids=["import nbcnn", "nbcnn --help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    report = f"import atexit; atexit.register(lambda: print('loaded:', *({set(HEAVY)} & set(sys.modules))))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {report}; {code}", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(os.environ, 1),
    )
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize("name", ops.OPS)
def test_every_operator_is_documented_and_tested(name: str) -> None:
    """tests/ops/test_samples.py runs the samples of every operator."""
    cls = ops.get(name)
    assert cls.__doc__
    assert sys.modules[cls.__module__].__doc__
    samples = list(cls.samples())
    assert any(s.error is None for s in samples)


@pytest.mark.parametrize("name", passes.PASSES)
def test_every_pass_is_documented_and_tested(name: str) -> None:
    cls = passes.get(name)
    assert cls.__doc__
    assert sys.modules[cls.__module__].__doc__
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "passes").glob("test_*.py")]
    assert any(cls.__name__ in text for text in tests)


@pytest.mark.parametrize("folder", ["nbcnn", "tests", "benchmarks"])
def test_no_file_is_long(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert lengths
    assert {path: n for path, n in lengths.items() if n > MOST_LINES} == {}


def test_data_folders_hold_no_code() -> None:
    for folder in ("graphs", "passes"):
        assert not list((ROOT / folder).rglob("*.py"))
