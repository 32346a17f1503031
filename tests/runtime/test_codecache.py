from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest

from nbcnn.errors import NbcnnError
from nbcnn.runtime import codecache, loader, sources, store
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import detect

CALL = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_ssize_t)
COUNT = KernelSpec("tinykernels.kernels:make_count", (("step", 3),), "i64_count_3")
BONUS = KernelSpec("tinykernels.kernels:make_bonus", (), "i64_bonus")

# Loads the count kernel in a fresh process; prints its result and whether Numba was imported.
CHILD = """
import ctypes, sys
from nbcnn.runtime import codecache
from nbcnn.target import detect
spec = codecache.KernelSpec("tinykernels.kernels:make_{0}", {1}, "i64_{0}")
block = (ctypes.c_int64 * 2)(1, 50)
kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * 3)(codecache.load(spec, detect()))
kernel(ctypes.addressof(block), 0, 1)
print(block[0], "numba" in sys.modules)
"""
COUNT_CHILD = CHILD.format("count", '(("step", 3),)')


def call(spec, *words, target=None, part=0, parts=1):
    block = np.array(words, np.int64)
    CALL(codecache.load(spec, target or detect()))(block.ctypes.data, part, parts)
    return block.tolist()


def forget(monkeypatch):
    monkeypatch.setattr(codecache, "_addresses", {})


def stored(folder):
    return sorted(folder.glob("*.nbo"))


def test_kernel_runs_and_is_kept(tiny, cache_dir):
    assert call(COUNT, 10, 20, part=1) == [10, 23]
    (path,) = stored(cache_dir)
    assert path.name.startswith("i64_count_3-")
    assert codecache.load(COUNT, detect()) == codecache.load(COUNT, detect())
    assert codecache.info()["files"] == 1
    assert codecache.info()["loaded"] == 1


def test_hit_in_another_process_needs_no_numba(tiny, python):
    assert python(COUNT_CHILD) == "4 True"
    assert python(COUNT_CHILD) == "4 False"


def test_math_library_resolves_without_numba(tiny, python):
    child = CHILD.format("libm", '(("scale", 1000000),)')
    expected = int(1_000_000 * (np.exp(0.5) + np.tanh(0.5) + np.sin(0.5)))
    assert python(child) == f"{expected} True"
    assert python(child) == f"{expected} False"


def test_editing_an_imported_module_invalidates(tiny, python):
    child = CHILD.format("bonus", "()")
    assert python(child) == "101 True"
    helper = tiny / "helper.py"
    helper.write_text(helper.read_text().replace("BONUS = 100", "BONUS = 700"))
    assert python(child) == "701 True"
    assert python(child) == "701 False"


def test_key_depends_on_cpu_parameters_and_flags(tiny):
    target = detect()
    variants = [
        (COUNT, target),
        (COUNT, replace(target, features=target.features + ",-fma")),
        (COUNT, replace(target, cpu="generic")),
        (replace(COUNT, params=(("step", 4),)), target),
        (replace(COUNT, fastmath=("contract",)), target),
        (BONUS, target),
    ]
    assert len({codecache.key(*variant) for variant in variants}) == len(variants)


def test_narrower_target_compiles(tiny):
    narrow = replace(detect(), cpu="generic", features="")
    assert call(COUNT, 1, target=narrow) == [4]


@pytest.mark.parametrize("damage", [b"", b"foreign", None], ids=["empty", "foreign", "bit"])
def test_damaged_file_is_replaced(tiny, cache_dir, monkeypatch, damage):
    call(COUNT, 0)
    (path,) = stored(cache_dir)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if damage is None else damage)
    forget(monkeypatch)
    assert call(COUNT, 5) == [8]
    assert path.read_bytes()[:8] == good[:8]
    assert len(path.read_bytes()) > 100


def test_file_of_another_key_is_refused(tiny, cache_dir, monkeypatch):
    call(COUNT, 0)
    call(BONUS, 0)
    bonus, count = stored(cache_dir)
    count.write_bytes(bonus.read_bytes())
    forget(monkeypatch)
    assert call(COUNT, 5) == [8]


def test_processes_compiling_at_once(tiny, cache_dir):
    children = [
        subprocess.Popen([sys.executable, "-c", COUNT_CHILD], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert {child.communicate(timeout=120)[0].strip() for child in children} == {"4 True"}
    assert [path.suffix for path in cache_dir.iterdir()] == [".nbo"]


def test_threads_loading_at_once_get_one_address(tiny):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(codecache.load(COUNT, detect()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_unwritable_folder_warns_once_and_works(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(store, "_warned", False)
    with pytest.warns(RuntimeWarning, match="not kept"):
        assert call(COUNT, 0) == [3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call(BONUS, 0) == [100]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_user_without_a_home(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("NBCNN_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store.Path, "home", nowhere)
    assert store.folder().name.startswith("nbcnn-")


def test_folder_that_others_may_write_is_refused(tiny, cache_dir, monkeypatch):
    call(COUNT, 0)
    cache_dir.chmod(0o777)
    forget(monkeypatch)
    with pytest.raises(NbcnnError, match="writable by others"):
        call(COUNT, 0)


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_folder_is_private(tiny, cache_dir):
    call(COUNT, 0)
    assert cache_dir.stat().st_mode & 0o077 == 0


def test_kernel_that_may_raise_is_refused(tiny):
    spec = KernelSpec("tinykernels.kernels:make_raises", (), "raises")
    with pytest.raises(NbcnnError, match="may raise"):
        codecache.load(spec, detect())


def test_kernel_that_allocates_is_refused(tiny):
    spec = KernelSpec("tinykernels.kernels:make_allocates", (), "allocates")
    with pytest.raises(NbcnnError, match="allocates"):
        codecache.load(spec, detect())


def test_object_with_an_unknown_symbol_is_an_error_not_an_abort():
    import llvmlite.binding as llvm

    machine = loader.target_machine(detect())
    module = llvm.parse_assembly(
        "declare void @no_such_thing()\ndefine void @lost() { call void @no_such_thing()\n ret void }"
    )
    with pytest.raises(NbcnnError, match="does not load"):
        loader.load_object(machine.emit_object(module), "lost", detect())


def test_oldest_files_go_first(cache_dir, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 1000)
    for index in range(4):
        store.write("k", f"{index:040d}", bytes(300))
        path = cache_dir / store._file("k", f"{index:040d}")
        os.utime(path, (index, index))
    assert [store.read("k", f"{index:040d}") is None for index in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_clear_and_warm(tiny):
    target, seen = detect(), []
    assert codecache.warm([(COUNT, target), (BONUS, target)], lambda *a: seen.append(a)) == 2
    assert seen == [(1, 2, COUNT.name), (2, 2, BONUS.name)]
    assert codecache.clear() == 2
    assert codecache.info()["files"] == 0


def test_import_closure(tiny):
    assert "tinykernels.helper" in sources._read("tinykernels.kernels").imports
    assert "nbcnn.runtime.walk_code" in sources._read("tinykernels.kernels").imports
    assert "nbcnn.runtime.loader" in sources._read("nbcnn.runtime.jit").imports
