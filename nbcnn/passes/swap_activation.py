"""Put another activation in the place of one: a cheaper one, or one that quantises better.

    swap-activation{old=silu, new=hard_swish}
    swap-activation{old=gelu, new=gelu{approximate=tanh}}
    swap-activation{old=leaky_relu{alpha=0.1}, new=relu, nodes=[head.*]}

``old`` is an operator, with attributes to take only the nodes that have these; ``new`` is an operator and
its attributes. The bodies of fused nodes are searched too, so it may run early or late. Each rewrite says how
far the two functions lie apart on [-8, 8] at most. What becomes of the model's outputs depends on the model:
fine-tune, and let ``--verify`` tell the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from nbcnn import ops
from nbcnn.errors import NbcnnError, PassError, nearest
from nbcnn.ir import Op, Rewriter
from nbcnn.ops.activation import Activation
from nbcnn.ops.fused import Fused
from nbcnn.passes.base import Lossy, Pass
from nbcnn.passes.choose import EVERY, chosen

Word = str | dict[str, dict[str, Any]]
"""An operator as pipelines spell it: ``relu``, or ``{leaky_relu: {alpha: 0.1}}``."""

_GRID = np.linspace(-8, 8, 1601)


@dataclass(frozen=True)
class SwapActivation(Pass):
    """Every activation ``old``: the activation ``new``, inside fused nodes too."""

    name: ClassVar[str] = "swap-activation"
    contract: ClassVar = Lossy(metric="output_error", bound=math.inf)

    old: Word
    new: Word
    nodes: tuple[str, ...] = EVERY

    def __post_init__(self) -> None:
        _activation(self.old, "old")
        _activation(self.new, "new")

    def run(self, rw: Rewriter) -> None:
        old, new = _activation(self.old, "old"), _activation(self.new, "new")
        given = next(iter(self.old.values())) if isinstance(self.old, dict) else {}

        def swapped(op: Op) -> Op:
            fits = type(op) is type(old) and all(getattr(op, key) == getattr(old, key) for key in given)
            return new if fits else op

        for node in chosen(rw, self.nodes):
            inside = node.op.body.nodes if isinstance(node.op, Fused) else (node,)
            changed = tuple(replace(n, op=swapped(n.op)) for n in inside)
            taken = [n.op for n, after in zip(inside, changed, strict=True) if n.op != after.op]
            if not taken:
                continue
            apart = max(_distance(op, new) for op in taken)
            if not rw.begin(
                node.name, f"{taken[0].name} to {new.name}, at most {apart:.3g} apart on [-8, 8]"
            ):
                return
            if isinstance(node.op, Fused):
                op: Op = replace(node.op, body=replace(node.op.body, nodes=changed))
            else:
                op = new
            rw.replace(node.name, op, node.inputs)


def _activation(word: Word, option: str) -> Activation:
    """The operator that ``word`` spells; raises PassError that names the option at fault."""
    where = f"pass '{SwapActivation.name}', option '{option}'"
    if isinstance(word, dict) and len(word) != 1:
        raise PassError(f"{where}: one activation and its attributes, got {word!r}")
    name, given = next(iter(word.items())) if isinstance(word, dict) else (word, {})
    known = [op for op in ops.OPS if issubclass(ops.get(op), Activation)]
    if name not in known:
        raise PassError(f"{where}: '{name}' is no activation{nearest(name, known)}")
    cls = ops.get(name)
    attributes = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # operators are dataclasses
    for key in given:
        if key not in attributes:
            hint = nearest(key, attributes) if attributes else "; it takes none"
            raise PassError(f"{where}: {name} has no attribute '{key}'{hint}")
    try:
        op = cls(**given)
    except (NbcnnError, TypeError, ValueError) as error:
        raise PassError(f"{where}: {error}") from None
    assert isinstance(op, Activation)
    return op


def _distance(a: Op, b: Op) -> float:
    return float(abs(a.reference(_GRID)[0] - b.reference(_GRID)[0]).max())
