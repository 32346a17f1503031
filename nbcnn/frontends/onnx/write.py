"""What the rows of EXPORT write with.

Opset 17. Whatever depends on sizes (``padding: same``, windows that hang over) is written out, so that no
engine has to agree with another about how it is worked out; functions that this opset lacks are
written as the products and sums that define them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nbcnn.ir.types import TensorType

OPSET = 17


class Writer(Protocol):
    """What a call writes to."""

    def node(self, kind: str, inputs: list[str], outputs: list[str], attributes: dict[str, Any]) -> None: ...

    def constant(self, name: str, array: np.ndarray) -> str: ...

    def fresh(self, name: str) -> str: ...

    def flipped(self, weight: str) -> str: ...


@dataclass(frozen=True)
class WriteCall:
    """One application: ONNX names of its operands (data, then weights), the types of the data operands."""

    op: Any
    inputs: list[str]
    types: list[TensorType]
    outputs: list[str]
    writer: Writer

    @property
    def output(self) -> str:
        """The name of the first result."""
        return self.outputs[0]

    @property
    def x(self) -> str:
        return self.inputs[0]

    def last(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write the node that makes the result."""
        self.writer.node(kind, list(inputs), self.outputs, attributes)
        return self.output

    def part(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write a node on the way to it; returns the name of its value."""
        output = self.writer.fresh(f"{self.output}.{kind.lower()}")
        self.writer.node(kind, list(inputs), [output], attributes)
        return output

    def number(self, name: str, value: float) -> str:
        """A scalar of the operand's dtype."""
        return self.constant(name, np.array(value, self.types[0].dtype))

    def constant(self, name: str, array: np.ndarray) -> str:
        return self.writer.constant(f"{self.output}.{name}", array)


def write_as(kind: str) -> Callable[[WriteCall], str]:
    """The row of an operator that ONNX calls ``kind``, with the same operands and nothing to set."""

    def write(call: WriteCall) -> str:
        return call.last(kind, *call.inputs)

    return write
