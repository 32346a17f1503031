"""Runs the command line in this process, with a kernel cache of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nbcnn.cli.app import app


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def cli(monkeypatch, kernel_cache) -> Callable[..., Result]:
    """``cli("run", "digits", ...)``: the result, after a check that no bug escaped."""
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(kernel_cache))

    def invoke(*words: str | Path, cache: Path | None = None) -> Result:
        if cache:
            monkeypatch.setenv("NBCNN_CACHE_DIR", str(cache))
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def fails(cli) -> Callable[..., str]:
    """``fails("show", "lent5")``: the one line on stderr of a command that must be refused."""

    def invoke(*words: str | Path) -> str:
        result = cli(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        return line

    return invoke
