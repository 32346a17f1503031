"""Numba, in one place: what kernel modules decorate with, and how a kernel becomes object code.

Importing this module imports Numba (0.2-0.3 s). Only modules that hold kernel *code* import it;
they are imported on a code-cache miss, never on a hit.

A kernel is a serial function ``(args, part, parts) -> None`` of three ``intp``: the address of an
``int64[]`` block, and which of how many shares of the work to do. A kernel *factory*
``make(**ints)`` returns one; its closure holds ints only, which Numba freezes into constants.
A kernel neither allocates nor raises, so its object needs the C math library at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import compiler, registry
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu_options import FastMathOptions
from numba.core.errors import NumbaError
from numba.extending import intrinsic as _intrinsic

from nbcnn.errors import NbcnnError
from nbcnn.runtime.loader import target_machine
from nbcnn.target import Target

KERNEL_ARGS = (types.intp, types.intp, types.intp)

# Declared only: a call that survives optimisation shows that the kernel may raise. Numba's own
# engine finalises each module that it optimises, and would end the process over an unknown name.
_MAY_RAISE = "nbcnn_kernel_may_raise"
llvm.add_symbol(_MAY_RAISE, llvm.address_of_symbol("abort") or 1)


def device(function: Callable | None = None, *, inline: bool = True, fastmath: Iterable[str] = ()):
    """Decorator for a helper that kernels call (in Numba's words: njit without runtime or GIL).

    ``inline=False`` keeps a large helper out of line; ``fastmath`` holds LLVM flag names.
    """

    def decorate(f: Callable):
        return numba.njit(
            _nrt=False,
            nogil=True,
            error_model="numpy",
            boundscheck=False,
            forceinline=inline,
            fastmath=set(fastmath),
        )(f)

    return decorate if function is None else decorate(function)


#: Decorator for code generators that emit LLVM IR; tile sizes reach them as literals.
intrinsic = _intrinsic(prefer_literal=True)


def compile_object(
    factory: str,
    params: Mapping[str, int],
    target: Target,
    *,
    symbol: str,
    fastmath: Iterable[str] = (),
) -> bytes:
    """Object code (ELF, Mach-O or COFF) of ``factory(**params)`` that defines ``symbol``.

    ``factory`` is ``"module:function"``. Raises NbcnnError for a kernel that Numba cannot compile,
    that may raise, or that needs the Python runtime.
    """
    if numba.config.DISABLE_JIT:
        raise NbcnnError("NUMBA_DISABLE_JIT is set: kernels cannot be compiled")
    module_name, _, function_name = factory.partition(":")
    kernel = getattr(import_module(module_name), function_name)(**params)
    try:
        text = _optimised_ir(kernel, symbol, fastmath)
    except NumbaError as error:
        raise NbcnnError(f"kernel {symbol}: {error}") from error
    machine = target_machine(target)
    module = _strip(llvm.parse_assembly(text), symbol, machine)
    _check_imports(module, symbol)
    return machine.emit_object(module)


def _optimised_ir(kernel: Callable, symbol: str, fastmath: Iterable[str]) -> str:
    """LLVM IR after Numba's optimiser, with ``void symbol(intp, intp, intp)`` as the way in.

    numba.cfunc would do nearly this, but its wrapper reports exceptions through Numba's runtime,
    and code that refers to that runtime cannot load without importing Numba.
    """
    flags = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.enable_pyobject = False
    flags.nrt = False
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(set(fastmath))
    typing, context = registry.cpu_target.typing_context, registry.cpu_target.target_context
    with global_compiler_lock:
        typing.refresh()
        context.refresh()
        result = compiler.compile_extra(typing, context, kernel, KERNEL_ARGS, types.void, flags, {})
        library, native = result.library, result.fndesc
        library.add_ir_module(_entry(context, library, native, symbol))
        library.get_function(native.llvm_func_name).linkage = "internal"  # one copy, inlined
        library.finalize()
        return library.get_llvm_str()


def _entry(context, library, native, symbol: str) -> ir.Module:
    """A module with ``symbol``, which calls the kernel and marks the path where it raised."""
    module = library.create_ir_module(f"{symbol}.entry")
    word = context.get_value_type(types.intp)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 3), symbol)
    raised = ir.Function(module, ir.FunctionType(ir.VoidType(), []), _MAY_RAISE)
    builder = ir.IRBuilder(function.append_basic_block())
    callee = context.declare_function(module, native)
    status, _ = context.call_conv.call_function(builder, callee, types.void, KERNEL_ARGS, function.args)
    with builder.if_then(status.is_error, likely=False):
        builder.call(raised, [])
    builder.ret_void()
    return module


def _strip(module: llvm.ModuleRef, symbol: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Keep what ``symbol`` reaches; prove that helpers kept out of line cannot raise."""
    for value in [*module.functions, *module.global_variables]:
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return module


def _check_imports(module: llvm.ModuleRef, symbol: str) -> None:
    outside = {v.name for v in [*module.functions, *module.global_variables] if v.is_declaration}
    if _MAY_RAISE in outside:
        raise NbcnnError(
            f"kernel {symbol} may raise (an assert, a raise, or range() with a variable step); "
            "kernels must not"
        )
    runtime = sorted(name for name in outside if re.match(r"_?Py|NRT_|numba_", name))
    if runtime:
        raise NbcnnError(
            f"kernel {symbol} needs the Python runtime ({', '.join(runtime)}): "
            "kernels must not allocate or touch Python objects"
        )
