"""The cache of CUDA kernels; the compiler itself is tested in tests/kernels/cuda/test_cuda_code.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest

from nbcnn.errors import NbcnnError
from nbcnn.runtime import sources
from nbcnn.runtime.cuda import cubin
from nbcnn.runtime.cuda.ptx import codes, groups

LOG = """ptxas info    : 0 bytes gmem
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Compiling entry function '_Z3fooy' for 'sm_90a'
ptxas         .     32 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 168 registers, used 2 barriers, 32 bytes cumulative stack size, 16 bytes smem
"""

# Loads a kernel in a fresh process; prints its code, and what was imported for it.
CHILD = """
import sys
from nbcnn.kernels.cuda.configs import CONFIGS
from nbcnn.runtime.cuda import cubin
cubin.build = None
made = cubin.load(CONFIGS["f16_depthwise_3x3s1_w4__sm80"], (9, 0))
print(made.code, {"numba", "llvmlite", "cuda"} & set(sys.modules))
"""


@dataclass(frozen=True)
class Tiny:
    """A configuration of a kernel that is never compiled here."""

    name: str = "tiny"
    factory: str = "tinykernels.kernels:make_count"
    params: tuple[tuple[str, str], ...] = ()
    threads: int = 32
    blocks: int = 1
    smem: int = 0

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability >= (8, 0)


@pytest.fixture
def builds(cache_dir, tiny, monkeypatch):
    """What was built, in order: a stand-in for the compiler."""
    done: list[tuple[str, tuple[int, int]]] = []

    def build(config, capability):
        done.append((config.name, capability))
        return cubin.Cubin(
            b"\x7fELF" + bytes([len(done)]), "entry", "sm_80", 40, 0, 0, 0, 0, ("w",), ("t 1",)
        )

    monkeypatch.setattr(cubin, "build", build)
    sources._path.cache_clear()  # an earlier test's copy of tinykernels lay elsewhere
    forget(monkeypatch)
    return done


def forget(monkeypatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(cubin, "_loaded", {})


def test_built_once_then_from_memory_then_from_disk(builds, monkeypatch) -> None:
    first = cubin.load(Tiny(), (8, 0))
    assert cubin.load(Tiny(), (8, 0)) is first
    forget(monkeypatch)
    assert cubin.load(Tiny(), (8, 0)) == first
    assert builds == [("tiny", (8, 0))]


@pytest.mark.parametrize(
    "config, capability",
    [(replace(Tiny(), threads=64), (8, 0)), (Tiny(), (8, 6)), (replace(Tiny(), name="b"), (8, 0))],
)
def test_another_configuration_or_gpu_is_another_kernel(builds, config, capability) -> None:
    cubin.load(Tiny(), (8, 0))
    cubin.load(config, capability)
    assert len(builds) == 2


def test_edited_source_is_built_again(builds, tiny, monkeypatch) -> None:
    cubin.load(Tiny(), (8, 0))
    (tiny / "kernels.py").write_text((tiny / "kernels.py").read_text() + "\n# edited\n")
    sources.refresh()
    forget(monkeypatch)
    cubin.load(Tiny(), (8, 0))
    assert len(builds) == 2


def test_other_tools_build_again(builds, monkeypatch) -> None:
    cubin.load(Tiny(), (8, 0))
    monkeypatch.setattr(cubin, "tools", lambda: ("numba-cuda 99",))
    forget(monkeypatch)
    cubin.load(Tiny(), (8, 0))
    assert len(builds) == 2


def test_damaged_file_is_built_again(builds, cache_dir, monkeypatch) -> None:
    cubin.load(Tiny(), (8, 0))
    (path,) = cache_dir.glob("tiny.sm_80-*.nbo")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    forget(monkeypatch)
    cubin.load(Tiny(), (8, 0))
    assert len(builds) == 2


def test_a_hit_imports_no_compiler(builds, python) -> None:
    from nbcnn.kernels.cuda.configs import CONFIGS

    cubin.load(CONFIGS["f16_depthwise_3x3s1_w4__sm80"], (9, 0))
    assert python(CHILD) == r"b'\x7fELF\x01' set()"


def test_report_of_the_assembler() -> None:
    made = cubin._report(b"code", "sm_90a", LOG)
    assert (made.entry, made.registers, made.static_smem) == ("_Z3fooy", 168, 16)
    assert (made.stack, made.spill_stores, made.spill_loads) == (32, 24, 28)
    assert [line for line in made.warnings if "C7510" in line] == list(made.warnings) != []
    with pytest.raises(NbcnnError, match="names no kernel"):
        cubin._report(b"", "sm_80", "nothing")


def test_refuses_a_gpu_that_lacks_the_instructions() -> None:
    with pytest.raises(NbcnnError, match=r"kernel tiny does not run on compute capability 7\.5"):
        cubin.build(Tiny(), (7, 5))


def test_without_the_compiler_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nbcnn.runtime.cuda.jit", None)
    monkeypatch.delattr("nbcnn.runtime.cuda.jit", raising=False)
    with pytest.raises(NbcnnError, match=r"needs nbcnn\[cuda\]"):
        cubin.build(Tiny(), (8, 0))


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install nbcnn[cuda]")
def test_what_does_not_compile_is_an_error_of_one_kernel() -> None:
    with pytest.raises(NbcnnError, match="kernel tiny does not compile"):
        cubin.build(replace(Tiny(), factory=f"{__name__}:make_wrong"), (8, 0))


def make_wrong(bind, config):
    def kernel():
        return undefined_name  # noqa: F821

    return kernel


@pytest.mark.parametrize(
    "capability, name", [((8, 0), "sm_80"), ((8, 9), "sm_89"), ((9, 0), "sm_90a"), ((12, 0), "sm_120a")]
)
def test_architectures(capability, name) -> None:
    assert cubin.architecture(capability) == name


def test_type_codes() -> None:
    assert codes("u64 f32*2") == ("u64", "f32", "f32")
    assert groups("u64 f32*2") == (("u64", 0), ("f32", 2))
    with pytest.raises(ValueError, match="no type code 'f64'"):
        codes("f64")
