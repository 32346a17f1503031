"""Reading a body as one main operator and what follows it while the result is in registers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nbcnn.ir.graph import Node
from nbcnn.ir.op import Op
from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.base import Site
from nbcnn.kernels.layouts import View
from nbcnn.kernels.steps import Float

NONE, BEFORE, AFTER = 0, 1, 2
"""Where a residual is added: nowhere, before the activation, after it."""


@dataclass(frozen=True)
class Epilogue:
    """An activation (kernel code and its two arguments) and a residual addend (a graph value)."""

    activation: str = "clamp"
    a: float = -math.inf
    b: float = math.inf
    residual: str | None = None
    order: int = NONE

    @property
    def code(self) -> int:
        return ACTIVATIONS[self.activation]

    @property
    def args(self) -> tuple[Float, Float]:
        return Float(self.a), Float(self.b)

    @property
    def applies(self) -> bool:
        """Whether there is an activation at all."""
        return (self.activation, self.a, self.b) != ("clamp", -math.inf, math.inf)

    @property
    def label(self) -> str:
        """A word for kernel names: ``""``, ``_silu``, ``_res``..."""
        act = "" if self.activation == "clamp" else f"_{self.activation}"
        return f"{act}{('', '_res', '_resafter')[self.order]}"


_AS_THEY_ARE = frozenset(ACTIVATIONS) - {"none", "clamp", "elu", "silu", "swish", "gelu_tanh"}
"""Operators that bear the name of their code."""


def activation(op: Op) -> Epilogue | None:
    """The epilogue of an activation operator alone, or None for other operators."""
    attributes: Any = op
    match op.name:
        case "relu":
            return Epilogue("clamp", 0.0, math.inf)
        case "relu6":
            return Epilogue("clamp", 0.0, 6.0)
        case "clip":
            low = -math.inf if attributes.min is None else attributes.min
            high = math.inf if attributes.max is None else attributes.max
            return Epilogue("clamp", low, high)
        case "elu":
            return Epilogue("elu", attributes.alpha, 1.0)
        case "celu":
            return Epilogue("elu", attributes.alpha, 1 / attributes.alpha) if attributes.alpha > 0 else None
        case "selu":
            return Epilogue("selu", attributes.gamma, attributes.alpha)
        case "silu":
            return Epilogue("swish" if attributes.alpha != 1 else "silu", attributes.alpha, 0.0)
        case "shrink":
            return Epilogue("shrink", attributes.lambd, attributes.bias)
        case "gelu" if attributes.approximate == "tanh":
            return Epilogue("gelu_tanh", 0.0, 0.0)
    if op.name not in _AS_THEY_ARE:
        return None
    return Epilogue(op.name, getattr(op, "alpha", 0.0), getattr(op, "beta", 0.0))


def parse(site: Site, *mains: str) -> tuple[Node, Epilogue] | str:
    """The main node (one of the ops ``mains``) and its epilogue, or why the body is not of that form.

    Bodies of the form main [+ residual] [activation] or main [activation] [+ residual] match.
    """
    main, *rest = site.body
    if main.op.name not in mains:
        return f"it begins with {main.op.name}, not {' or '.join(mains)}"
    found, value = Epilogue(), main.output
    for node in rest:
        act = activation(node.op)
        if act is not None and not found.applies:
            order = BEFORE if found.residual else NONE
            found = Epilogue(act.activation, act.a, act.b, found.residual, order)
        elif node.op.name == "add" and found.residual is None:
            others = [v for v in node.inputs if v != value]
            if len(others) != 1:
                return "it adds the value to itself"
            residual = site.actual(others[0])
            if residual not in site.data or site.type(residual) != site.out_types[0]:
                return f"the residual '{residual}' is not an operand of the output's type"
            order = AFTER if found.applies else BEFORE
            found = Epilogue(found.activation, found.a, found.b, residual, order)
        else:
            return f"it cannot apply {node.op.name} while the result is in registers"
        value = node.output
    return main, found


def matched(site: Site, *mains: str) -> tuple[Node, Epilogue]:
    """`parse` for a site that is known to be of that form."""
    found = parse(site, *mains)
    assert not isinstance(found, str), found
    return found


def residual_of(site: Site, ins: tuple[View, ...], tail: Epilogue) -> View | None:
    """Where the residual of ``tail`` lies, among the operands ``ins`` of the site."""
    return ins[site.data.index(tail.residual)] if tail.residual else None
