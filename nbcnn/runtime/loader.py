"""Puts object code into this process, with llvmlite alone: no Numba, no compiler."""

from __future__ import annotations

import platform
from contextlib import suppress

import llvmlite.binding as llvm

from nbcnn.errors import NbcnnError
from nbcnn.target import Target

_engine: llvm.orcjit.LLJIT | None = None
_count = 0


def target_machine(target: Target) -> llvm.TargetMachine:
    """LLVM's code generator for ``target``, with the options that code for this process needs."""
    with suppress(RuntimeError):  # needed up to llvmlite 0.44, an error from 0.45
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="static" if x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


def load_object(code: bytes, symbol: str, target: Target) -> int:
    """Address of ``symbol`` in ``code``, which stays loaded until the process ends.

    Not thread-safe; codecache holds its lock. Names that the object leaves open are looked up in
    the process (the C math library is there). Raises NbcnnError when one is missing (ORC prints
    its name on stderr), where MCJIT would end the process.
    """
    global _engine, _count
    if _engine is None:
        _engine = llvm.create_lljit_compiler(target_machine(target))
        _engine._owned = True  # never freed: daemon threads may still run kernels at exit
    _count += 1
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    try:
        loaded = library.export_symbol(symbol).link(_engine, f"nbcnn.{_count}")
    except RuntimeError as error:
        raise NbcnnError(f"kernel {symbol} does not load: {error}") from error
    loaded._owned = True
    return loaded[symbol]
