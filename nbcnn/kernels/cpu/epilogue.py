"""Reading a body as one main operator and what follows it while the result is in registers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbcnn.ir.graph import Node
from nbcnn.ir.op import Op
from nbcnn.kernels.base import Float, Site, View
from nbcnn.kernels.cpu.activation_ids import ACTIVATIONS

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
    def label(self) -> str:
        """A word for kernel names: ``""``, ``_silu``, ``_res``..."""
        act = "" if self.activation == "clamp" else f"_{self.activation}"
        return f"{act}{('', '_res', '_resafter')[self.order]}"


def activation(op: Op) -> Epilogue | None:
    """The epilogue of an activation operator alone, or None for other operators."""
    match op.name:
        case "relu":
            return Epilogue("clamp", 0.0, math.inf)
        case "relu6":
            return Epilogue("clamp", 0.0, 6.0)
        case "leaky_relu" | "elu":
            return Epilogue(op.name, op.alpha, 0.0)  # type: ignore[attr-defined]
        case "hard_sigmoid":
            return Epilogue(op.name, op.alpha, op.beta)  # type: ignore[attr-defined]
        case "gelu":
            name = "gelu" if op.approximate == "none" else "gelu_tanh"  # type: ignore[attr-defined]
            return Epilogue(name, 0.0, 0.0)
        case "sigmoid" | "tanh" | "silu" | "hard_swish":
            return Epilogue(op.name, 0.0, 0.0)
    return None


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
        if act is not None and found.activation == "clamp" and found.a == -math.inf:
            order = BEFORE if found.residual else NONE
            found = Epilogue(act.activation, act.a, act.b, found.residual, order)
        elif node.op.name == "add" and found.residual is None:
            others = [v for v in node.inputs if v != value]
            if len(others) != 1:
                return "it adds the value to itself"
            residual = site.actual(others[0])
            if residual not in site.data or site.type(residual) != site.out_types[0]:
                return f"the residual '{residual}' is not an operand of the output's type"
            plain = found.activation == "clamp" and found.a == -math.inf
            found = Epilogue(found.activation, found.a, found.b, residual, BEFORE if plain else AFTER)
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
