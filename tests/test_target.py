from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from nbcnn.target import detect

x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="x86 feature names")


def test_host_is_plausible():
    target = detect()
    assert target == detect()
    assert target.name == "cpu"
    assert target.lanes in (4, 8, 16)
    assert 8 << 10 <= target.l1 <= target.l2


@x86
@pytest.mark.parametrize(
    "features, lanes, fma, registers, isa",
    [
        ("+avx,+avx2,+fma,+avx512f", 16, True, 32, "avx512"),
        ("+avx,+avx2,+fma,-avx512f", 8, True, 16, "avx2"),
        ("+avx,-fma", 8, False, 16, "avx"),
        ("", 4, False, 16, "sse"),
        ("+avx,-avx", 4, False, 16, "sse"),
    ],
)
def test_features_from_the_environment(monkeypatch, features, lanes, fma, registers, isa):
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    target = detect()
    assert (target.cpu, target.features) == ("x86-64", features)
    assert (target.lanes, target.fma, target.registers) == (lanes, fma, registers)
    assert target.isa == isa


def test_generic_cpu_has_no_features(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert detect().features == ""


@x86
def test_avx_switched_off(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_AVX", "0")
    assert detect().lanes == 4


@pytest.mark.parametrize("setting", [{}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_ENABLE_AVX": "0"}])
def test_agrees_with_numba(setting, monkeypatch):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    text = (
        "from numba.core.registry import cpu_target as t; c = t.target_context.codegen()\n"
        "print(c._get_host_cpu_name()); print(c._get_host_cpu_features())"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    cpu, features = done.stdout.split("\n")[:2]
    target = detect()
    assert (target.cpu, target.features) == (cpu, features)


def test_detection_imports_no_numba():
    text = "import sys; from nbcnn.target import detect; detect(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_word_in_enable_avx_is_ignored_as_numba_ignores_it(monkeypatch):
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    monkeypatch.delenv("NUMBA_ENABLE_AVX", raising=False)
    expected = detect()
    monkeypatch.setenv("NUMBA_ENABLE_AVX", "yes")
    assert detect() == expected
