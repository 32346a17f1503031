from __future__ import annotations

import os


def test_show_warm_clear(cli, tmp_path) -> None:
    folder = tmp_path / "cache"
    assert cli("cache", cache=folder).stdout.splitlines() == [
        str(folder),
        "0 files, 0 B of at most 512.0 MiB",
    ]
    warm = cli("cache", "warm", "lenet5", cache=folder)
    assert warm.exit_code == 0
    assert warm.stderr == ""
    kept = len(os.listdir(folder))
    assert kept > 0
    assert f"{kept} files, " in warm.stdout
    assert cli("cache", "show", cache=folder).stdout == warm.stdout
    assert cli("cache", "clear", cache=folder).stdout == f"{kept} files removed\n"
    assert os.listdir(folder) == []


def test_times_of_trials_are_kept_and_removed(cli, tmp_path) -> None:
    """Sparse kernels are tried: their times lie beside them, and are measured again once removed."""
    folder = tmp_path / "cache"
    explain = ("explain", "digits", "--passes", "sparse", "--sparsity", "0.9", "--kernels")
    for _ in range(2):
        assert "measured" in cli(*explain, cache=folder).stdout
        assert len(list(folder.glob("trial-*"))) > 1
        files = len(os.listdir(folder))
        assert f"{files} files, " in cli("cache", "show", cache=folder).stdout
        assert cli("cache", "clear", cache=folder).stdout == f"{files} files removed\n"
        assert os.listdir(folder) == []


def test_refusals(fails, tmp_path) -> None:
    assert "did you mean 'lenet5'?" in fails("cache", "warm", "lenet")
