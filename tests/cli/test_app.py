"""The command itself: help, version, errors, interrupts, pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nbcnn import resources
from nbcnn.bench.remote import environment
from nbcnn.cli import run as run_verb

VERBS = [("list",), ("show",), ("run",), ("import",), ("export",), ("bench",), ("bisect",), ("cache",)]
VERBS += [("prune",), ("sensitivity",)]
INNER = [("cache", "show"), ("cache", "warm"), ("cache", "clear")]


def process(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "nbcnn", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(os.environ, 1),
        text=True,
        **options,
    )


@pytest.mark.parametrize("words", [(), *VERBS, *INNER], ids=" ".join)
def test_help_has_an_example_and_fits(cli, words) -> None:
    result = cli(*words, "--help")
    assert result.exit_code == 0
    assert f"nbcnn {' '.join(words)}".strip() in result.stdout
    assert "Example:\n" in result.stdout
    assert "..." not in result.stdout.split("Commands:")[-1] or "Commands:" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_version(cli) -> None:
    result = cli("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("nbcnn ")


@pytest.mark.parametrize(
    "words",
    [
        ("shwo", "lenet5"),
        ("show",),
        ("show", "lenet5", "--colour"),
        ("run", "digits"),
        ("run", "digits", "x.png", "--top", "0"),
        ("run", "digits", "x.png", "--threads", "two"),
        ("bench", "digits", "--time", "long"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(cli, words) -> None:
    result = cli(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_exits_with_130(cli, monkeypatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nbcnn.api.load", interrupted)
    result = cli("show", "lenet5")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_too_little_memory_is_one_line(cli, monkeypatch) -> None:
    def greedy(*_, **__):
        raise MemoryError("Unable to allocate 24 GiB")

    monkeypatch.setattr("nbcnn.api.load", greedy)
    result = cli("show", "lenet5")
    assert (result.exit_code, result.stderr) == (2, "error: not enough memory: Unable to allocate 24 GiB\n")


def test_a_bug_keeps_its_traceback(cli, monkeypatch) -> None:
    monkeypatch.setattr(run_verb, "compiled", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli("run", "digits", resources.folder("graphs") / "samples" / "four.png")


def test_warnings_are_one_line(cli, monkeypatch) -> None:
    import warnings

    import nbcnn.api

    load = nbcnn.api.load

    def warns(*words, **options):
        warnings.warn("take care\nof it", stacklevel=1)
        return load(*words, **options)

    monkeypatch.setattr("nbcnn.api.load", warns)
    result = cli("show", "lenet5")
    assert result.exit_code == 0
    assert result.stderr == "warning: take care of it\n"


def test_a_process_of_its_own() -> None:
    """Exit codes and streams as a shell sees them."""
    with process("show", "lent5") as wrong:
        out, err = wrong.communicate(timeout=60)
    assert (wrong.returncode, out) == (2, "")
    assert err.splitlines() == [
        "error: no model is called 'lent5', and it is no path; did you mean 'lenet5'?"
    ]


@pytest.mark.skipif(os.name == "nt", reason="a broken pipe is a POSIX matter")
def test_a_reader_that_leaves_early() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "nbcnn", "show", "lenet5"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(os.environ, 1),
    ) as left:
        os.close(writing)
        _, err = left.communicate(timeout=60)
    assert left.returncode == 1
    assert err == b""
