"""Steps within a step: what each part of a team does by itself, without waiting for the others.

Argument block (words): 0 the number of parts, then for each the word where its block begins. A block is the
number of its runs and for each: the address of a step table, its steps, the first image, the image after the
last, the number of arguments that move, and for each of these its step, its slot, its value for image 0 and
what it gains with each image.

A part does the steps of a run in order, whole, image after image. No two parts share a step table.
"""

from __future__ import annotations

from nbcnn.runtime.walk_code import call, load, store


def make_strips():
    """``(args, part, parts)``: the runs of every part that falls to this one."""

    def strips(args, part, parts):
        mine = part
        while mine < load(args, 0):
            at = load(args, 1 + mine)
            runs = load(args, at)
            at += 1
            for _ in range(runs):
                table, steps = load(args, at), load(args, at + 1)
                moves = load(args, at + 4)
                for image in range(load(args, at + 2), load(args, at + 3)):
                    for move in range(moves):
                        entry = at + 5 + 4 * move
                        block = load(table, 2 * load(args, entry) + 1)
                        store(
                            block,
                            load(args, entry + 1),
                            load(args, entry + 2) + image * load(args, entry + 3),
                        )
                    for step in range(steps):
                        call(load(table, 2 * step), load(table, 2 * step + 1), 0, 1)
                at += 5 + 4 * moves
            mine += parts

    return strips
