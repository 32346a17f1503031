"""Kernels on an argument block whose words are counters."""

import math

import numpy as np
from llvmlite import ir
from numba import types

from nbcnn.runtime import jit
from nbcnn.runtime.team_code import acquire, give_way, release
from nbcnn.runtime.walk_code import load

from .helper import bonus


@jit.intrinsic
def store(typing, address, index, value):
    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store(args[2], builder.gep(pointer, [args[1]]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), generate


@jit.device(inline=False)
def rate(x):
    return math.exp(x) + math.tanh(x) + math.sin(x)


def make_count(step):
    """Word ``part`` of the block += step."""

    def count(args, part, parts):
        store(args, part, load(args, part) + step)

    return count


def make_libm(scale):
    """Word 0 = scale * rate(word 1 / 100), truncated."""

    def libm(args, part, parts):
        store(args, 0, types.int64(scale * rate(load(args, 1) / 100)))

    return libm


def make_bonus():
    """Word 0 += helper.BONUS."""

    def count(args, part, parts):
        store(args, 0, bonus(load(args, 0)))

    return count


def make_delay(loops):
    """Keeps a core busy for ``loops`` rounds of a chain that cannot be shortened."""

    def delay(args, part, parts):
        value = load(args, part)
        for _ in range(loops):
            value = value * 6364136223846793005 + 1442695040888963407
            value ^= value >> 33
        store(args, part, value)

    return delay


def make_meet(patience):
    """Word ``part`` = 1, then word ``8 + part`` = whether the other part of two has begun."""

    def meet(args, part, parts):
        release(args, part, 1)
        turns = 0
        while acquire(args, 1 - part) == 0 and turns < patience:
            turns += 1
            give_way()
        release(args, 8 + part, acquire(args, 1 - part))

    return meet


def make_raises():
    def raises(args, part, parts):
        if part > 7:
            raise ValueError("no")

    return raises


def make_allocates():
    def allocates(args, part, parts):
        store(args, 0, np.zeros(part + 1).size)

    return allocates
