from __future__ import annotations

import os


def test_show_warm_clear(cli, tmp_path) -> None:
    folder = tmp_path / "cache"
    assert cli("cache", cache=folder).stdout.splitlines() == [
        str(folder),
        "0 kernels, 0 B of at most 512.0 MiB",
    ]
    warm = cli("cache", "warm", "lenet5", cache=folder)
    assert warm.exit_code == 0
    assert warm.stderr == ""
    kept = len(os.listdir(folder))
    assert kept > 0
    assert f"{kept} kernels, " in warm.stdout
    assert cli("cache", "show", cache=folder).stdout == warm.stdout
    assert cli("cache", "clear", cache=folder).stdout == f"{kept} kernels removed\n"
    assert os.listdir(folder) == []


def test_refusals(fails, tmp_path) -> None:
    assert "did you mean 'lenet5'?" in fails("cache", "warm", "lenet")
