"""numba-cuda, in one place: instruction tables become intrinsics, a kernel becomes LTO-IR. Needs no driver.

Importing this module imports Numba and numba-cuda (0.5 s); it is imported when a cubin is built, never
when one is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda, types
from numba.core.errors import NumbaError
from numba.cuda import cgutils, dispatcher
from numba.cuda.datamodel import models
from numba.cuda.extending import intrinsic, register_model
from numba.cuda.np.numpy_support import from_dtype

from nbcnn.errors import NbcnnError
from nbcnn.runtime.cuda.emit import F32, I16, I32, I64, MAP_BYTES, TYPES, Emitter, emit
from nbcnn.runtime.cuda.ptx import Op, Table, codes, groups
from nbcnn.runtime.cuda.simt import STORAGE, Simt


class TensorMap(types.Type):
    """A CUtensorMap that lies in the kernel's parameter space (``__grid_constant__``)."""

    def __init__(self) -> None:
        super().__init__(name="CUtensorMap")


_map = TensorMap()


@register_model(TensorMap)
class _MapModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, MAP_BYTES.as_pointer())


_CODES: dict[str, Any] = {
    "u16": types.uint16,
    "u32": types.uint32,
    "i32": types.int32,
    "i64": types.int64,
    "u64": types.uint64,
    "f32": types.float32,
    "map": _map,
    **{f"{code}[]": types.Array(from_dtype(np.dtype(kind)), 1, "C") for code, kind in STORAGE.items()},
}


def compile_lto(config: Any, capability: tuple[int, int, str]) -> bytes:
    """LTO-IR of the kernel of ``config``: a `Simt`, or a tensor-core kernel ``make(bind, config)``.

    ``config`` gives ``name``, ``params``, ``threads`` (a block) and ``blocks`` (least number of them on a
    multiprocessor, which limits the registers). Raises NbcnnError with the compiler's message.
    """
    major, minor, suffix = capability
    kernel = _kernel(config)
    kernel.__name__ = kernel.__qualname__ = config.name
    signature = tuple(_CODES[code] for _, code in config.params)
    try:
        with _compiling_for(major, minor):
            code, _ = cuda.compile(
                kernel,
                signature,
                cc=(major, minor, suffix) if suffix else (major, minor),
                launch_bounds=(config.threads, config.blocks),
                device=False,
                abi="numba",
                output="ltoir",
            )
    except (NumbaError, RuntimeError) as error:
        raise NbcnnError(f"kernel {config.name} does not compile: {error}") from error
    return code


def _kernel(config: Any) -> Callable[..., None]:
    """The undecorated kernel, new at each call."""
    if isinstance(config, Simt):
        return config.make()
    module, _, function = config.factory.partition(":")
    return getattr(import_module(module), function)(bind, config)


@contextmanager
def _compiling_for(major: int, minor: int) -> Iterator[None]:
    """Device functions of plain kernels are compiled for the GPU that is wanted, not for the current one."""
    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(major, minor))
    try:
        yield
    finally:
        dispatcher.get_current_device = before


def bind(table: Table) -> ModuleType:
    """A module whose members are the operations of ``table`` as Numba intrinsics, and what goes with them.

    A family is a function of its immediates. ``macro(outs, ins)`` decorates a function that emits code
    through an `Emitter`, ``device`` one that a kernel calls; ``u16``, ``u32``, ``i32``, ``u64`` convert;
    ``shared_base()`` is the address of the dynamic shared memory, a multiple of 1024;
    ``map_address(map)`` is that of a tensor map parameter, to be called in the kernel's own body.
    """
    space = ModuleType("ptx")
    for code in ("u16", "u32", "i32", "u64"):
        setattr(space, code, _CODES[code])
    for name, entry in table.items():
        setattr(space, name, _intrinsic(name, entry) if isinstance(entry, Op) else _family(name, entry))
    space.device = cuda.jit(device=True, inline="always")  # type: ignore[attr-defined]
    space.macro = lambda outs="", ins="": _macro(table, outs, ins)  # type: ignore[attr-defined]
    space.map_address = _map_address  # type: ignore[attr-defined]
    space.shared_base = _shared_base  # type: ignore[attr-defined]
    return space


def _fixed_arity(count: int, implementation: Callable, name: str) -> Callable:
    """Numba wants an intrinsic's function to name each operand."""
    names = ", ".join(["typing", *(f"a{i}" for i in range(count))])
    space = {"implementation": implementation}
    exec(f"def {name}({names}):\n    return implementation()\n", space)
    return space[name]  # type: ignore[return-value]


def _intrinsic(name: str, spec: Op) -> Any:
    outs, ins = codes(spec.outs), codes(spec.ins)
    returned = _result_type(outs)

    def implementation():
        def generate(context, builder, signature, args):
            return _pack(context, builder, returned, emit(spec, builder, args))

        return returned(*(_CODES[c] for c in ins)), generate

    return intrinsic(_fixed_arity(len(ins), implementation, name))


def _family(name: str, family: Callable[..., Op]) -> Callable:
    return lambda *imms: _intrinsic(name, family(*imms))


def _macro(table: Table, outs: str, ins: str) -> Callable[[Callable], Any]:
    """Decorator: ``f(emitter, *operands)`` runs while code is generated; ``u32*8`` is a list of values."""
    operands = groups(ins)
    results = [code for code, times in groups(outs) for _ in range(times or 1)]
    returned = _result_type(results)

    def decorate(function: Callable) -> Any:
        def implementation():
            def generate(context, builder, signature, args):
                values = [
                    [builder.extract_value(arg, i) for i in range(times)] if times else arg
                    for arg, (_, times) in zip(args, operands, strict=True)
                ]
                emitter = Emitter(table, builder)
                out = function(emitter, *values)
                out = [] if out is None else list(out) if isinstance(out, (list, tuple)) else [out]
                out = [emitter.value(v, TYPES[c][0]) for v, c in zip(out, results, strict=True)]
                return _pack(context, builder, returned, out)

            taken = [types.UniTuple(_CODES[c], n) if n else _CODES[c] for c, n in operands]
            return returned(*taken), generate

        return intrinsic(_fixed_arity(len(operands), implementation, function.__name__))

    return decorate


def _result_type(outs: Sequence[str]) -> Any:
    if not outs:
        return types.void
    members = [_CODES[c] for c in outs]
    if len(members) == 1:
        return members[0]
    return types.UniTuple(members[0], len(members)) if len(set(outs)) == 1 else types.Tuple(members)


def _pack(context, builder, returned, values: list[Any]) -> Any:
    if not values:
        return context.get_dummy_value()
    return values[0] if len(values) == 1 else context.make_tuple(builder, returned, values)


@intrinsic
def _map_address(typing, parameter):
    """u64: where a tensor map parameter lies.

    numba passes the parameter as a pointer; ``byval`` and the ``grid_constant`` annotation make it a
    128-byte parameter in constant memory. The attribute is spelt with a trailing blank because llvmlite
    would print the typed form, which NVVM's LLVM 7 does not read.
    """

    def generate(context, builder, signature, args):
        function, module = builder.function, builder.module
        places = [i for i, a in enumerate(function.args) if a.type == MAP_BYTES.as_pointer()]
        if not getattr(function, "nbcnn_maps_marked", False):
            function.nbcnn_maps_marked = True
            for place in places:
                set.add(function.args[place].attributes, "byval ")
                function.args[place].attributes.align = 64
            # numba's first argument, the slot of the result, is dropped later: a 1-based index is `place`
            indices = module.add_metadata([ir.Constant(I32, place) for place in places])
            mark = module.add_metadata((function, ir.MetaDataString(module, "grid_constant"), indices))
            cgutils.get_or_insert_named_metadata(module, "nvvm.annotations").add(mark)
        return builder.ptrtoint(args[0], I64)

    return types.uint64(_map), generate


@intrinsic
def _shared_base(typing):
    """u32: address in the shared window of the dynamic shared memory, aligned to 1024 (TMA, swizzling)."""

    def generate(context, builder, signature, args):
        name = "nbcnn_shared"
        memory = builder.module.globals.get(name)
        if memory is None:
            memory = ir.GlobalVariable(builder.module, ir.ArrayType(ir.IntType(8), 0), name, addrspace=3)
            memory.linkage, memory.align = "external", 1024
        return builder.ptrtoint(memory, I32)

    return types.uint32(), generate


def load4(kind: str) -> Any:
    """Intrinsic ``f(array, i)``: four neighbours from ``i`` on as float32, by one access.

    The first lies at a multiple of four elements; ``array`` may lie in shared memory.
    """

    @intrinsic
    def load(typing, array, index):
        def generate(context, builder, signature, args):
            vector = builder.load(_vector(context, builder, signature.args[0], args), align=_WIDTHS[kind])
            found = [builder.extract_element(vector, I32(i)) for i in range(4)]
            return context.make_tuple(
                builder, signature.return_type, [_widen(builder, kind, v) for v in found]
            )

        return types.UniTuple(types.float32, 4)(array, types.int64), generate

    return load


def store4(kind: str) -> Any:
    """Intrinsic ``f(array, i, a, b, c, d)``: the inverse of `load4`, rounding to nearest even."""

    @intrinsic
    def store(typing, array, index, a, b, c, d):
        def generate(context, builder, signature, args):
            place = _vector(context, builder, signature.args[0], args)
            vector = ir.Constant(place.type.pointee, ir.Undefined)
            for i, value in enumerate(args[2:]):
                vector = builder.insert_element(vector, _narrow(builder, kind, value), I32(i))
            builder.store(vector, place, align=_WIDTHS[kind])
            return context.get_dummy_value()

        return types.void(array, types.int64, *(types.float32,) * 4), generate

    return store


_WIDTHS = {"f32": 16, "f16": 8, "bf16": 8}  # bytes of four elements


def _vector(context: Any, builder: ir.IRBuilder, array: Any, args: Sequence[Any]) -> Any:
    """Pointer to a vector of four elements, from the second of ``args`` on."""
    data = context.make_array(array)(context, builder, value=args[0]).data
    place = builder.gep(data, [args[1]])
    element = F32 if array.dtype == types.float32 else I16
    return builder.bitcast(place, ir.VectorType(element, 4).as_pointer())


def _widen(builder: ir.IRBuilder, kind: str, value: Any) -> Any:
    if kind == "f16":
        return builder.call(ir.InlineAsm(ir.FunctionType(F32, [I16]), "cvt.f32.f16 $0, $1;", "=f,h"), [value])
    if kind == "bf16":
        return builder.bitcast(builder.shl(builder.zext(value, I32), I32(16)), F32)
    return value


def _narrow(builder: ir.IRBuilder, kind: str, value: Any) -> Any:
    if kind == "f16":
        asm = ir.InlineAsm(ir.FunctionType(I16, [F32]), "cvt.rn.f16.f32 $0, $1;", "=h,f")
        return builder.call(asm, [value])
    if kind == "bf16":
        bits = builder.bitcast(value, I32)
        odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
        rounded = builder.lshr(builder.add(builder.add(bits, I32(0x7FFF)), odd), I32(16))
        nan = builder.fcmp_unordered("uno", value, value)
        return builder.trunc(builder.select(nan, I32(0x7FC0), rounded), I16)
    return value
