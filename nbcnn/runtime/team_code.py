"""The native half of the thread team: how threads share the parts of each step of a table.

No thread is waited for unless it holds a part. Each thread tries its own part first and then any
that is left, so a worker that wakes late, or never, costs time and not the answer.

The team is an ``int64[]`` block. Every claim is a compare-and-swap to a tag (epoch, step) that
only grows, so a thread that still looks at an older run can neither claim nor touch anything.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types

from nbcnn.runtime import jit
from nbcnn.runtime.walk_code import call, load

# Word offsets; eight words are a cache line, sixteen keep the adjacent-line prefetcher quiet.
EPOCH, TABLE, STEPS, PARTS = 0, 1, 2, 3  # the epoch is odd while the other three change
LINES = 16  # first part's line: claimed tag at 0, done tag at 8, last epoch seen at 9
STRIDE = 16

PATIENCE = 2000  # pauses before a waiting thread offers its core to others
_WORD = ir.IntType(64)


def _pointer(builder, address, index):
    return builder.gep(builder.inttoptr(address, _WORD.as_pointer()), [index])


@jit.intrinsic
def acquire(typing, address, index):
    def generate(context, builder, signature, args):
        return builder.load_atomic(_pointer(builder, *args), "acquire", 8)

    return types.int64(types.intp, types.intp), generate


@jit.intrinsic
def release(typing, address, index, value):
    def generate(context, builder, signature, args):
        builder.store_atomic(args[2], _pointer(builder, *args[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), generate


@jit.intrinsic
def swap(typing, address, index, old, new):
    """Whether the word was ``old`` and is now ``new``."""

    def generate(context, builder, signature, args):
        pointer = _pointer(builder, *args[:2])
        pair = builder.cmpxchg(pointer, args[2], args[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.intp, types.intp, types.int64, types.int64), generate


@jit.intrinsic
def pause(typing):
    """Tell the core that this thread spins."""

    def generate(context, builder, signature, args):
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            function = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), function), [])
        elif machine in ("aarch64", "arm64"):
            function = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            hint = builder.module.declare_intrinsic("llvm.aarch64.hint", (), function)
            builder.call(hint, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), generate


@jit.intrinsic
def give_way(typing):
    """Let the operating system run another thread on this core."""

    def generate(context, builder, signature, args):
        name = "SwitchToThread" if platform.system() == "Windows" else "sched_yield"
        function = ir.FunctionType(ir.IntType(32), [])
        known = builder.module.globals.get(name)
        builder.call(known or ir.Function(builder.module, function, name), [])
        return context.get_dummy_value()

    return types.void(), generate


@jit.device
def take_part(team, me):
    """Walk the run under way as thread ``me``; returns once all its steps are done."""
    epoch = acquire(team, EPOCH)
    table, steps, parts = acquire(team, TABLE), acquire(team, STEPS), acquire(team, PARTS)
    if epoch & 1 or acquire(team, EPOCH) != epoch or me >= parts:
        return
    for step in range(steps):
        tag = (epoch << 32) + step + 1
        part = me
        for _ in range(parts):
            line = LINES + STRIDE * part
            claimed = acquire(team, line)
            if claimed < tag and swap(team, line, claimed, tag):
                call(load(table, 2 * step), load(table, 2 * step + 1), part, parts)
                release(team, line + 8, tag)
            part += 1
            if part == parts:
                part = 0
        for other in range(parts):
            spins = 0
            while acquire(team, LINES + STRIDE * other + 8) < tag:
                spins += 1
                if spins < PATIENCE:
                    pause()
                else:
                    give_way()


def make_lead():
    """``(team, table, steps << 16 | parts)``: announce a run and walk it as thread 0."""

    def lead(team, table, shape):
        epoch = acquire(team, EPOCH)
        release(team, EPOCH, epoch + 1)
        release(team, TABLE, table)
        release(team, STEPS, shape >> 16)
        release(team, PARTS, shape & 0xFFFF)
        release(team, EPOCH, epoch + 2)
        take_part(team, 0)

    return lead


def make_attend():
    """``(team, me, patience)``: serve as thread ``me`` until idle for ``patience`` pauses."""

    def attend(team, me, patience):
        mine = LINES + STRIDE * me + 9
        seen = load(team, mine)
        idle = 0
        while idle < patience:
            epoch = acquire(team, EPOCH)
            if epoch != seen and epoch & 1 == 0:
                seen = epoch
                take_part(team, me)
                idle = 0
            else:
                idle += 1
                pause()
        release(team, mine, seen)

    return attend
