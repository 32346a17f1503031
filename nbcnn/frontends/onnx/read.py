"""What the rows of IMPORT read with; the package's docstring tells how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.frontends.onnx.known import Known, extents
from nbcnn.ir.op import Op
from nbcnn.ir.types import Dim, TensorType

NEEDED: Any = object()
"""The default of an attribute that has to be there."""


class Unsupported(NbcnnError):
    """A node that cannot be served; the message is the reason."""


class Computed(Unsupported):
    """An operand, ``value``, has to be a constant and is not."""

    def __init__(self, message: str, value: str) -> None:
        super().__init__(message)
        self.value = value


class Builder(Protocol):
    """What a call adds to."""

    def type(self, value: str) -> TensorType: ...

    def known(self, value: str) -> Known | None: ...

    def add(self, op: Op, operands: list[str], outputs: list[str]) -> None: ...

    def define(self, name: str, known: Known) -> None: ...

    def alias(self, name: str, value: str) -> None: ...

    def fresh(self, name: str) -> str: ...


@dataclass
class ReadCall:
    """One node of the file: ``kind`` is its operator, ``opset`` the version that its meaning follows.

    ``inputs`` are names of values, "" where an operand is omitted; ``attributes`` hold Python values:
    int, float, str, arrays, or tuples of these.
    """

    kind: str
    opset: int
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    builder: Builder
    subgraph: Callable[[Any], list[str]]
    asked: set[str] = field(default_factory=set)

    # -- operands --------------------------------------------------------------------------------

    @property
    def x(self) -> str:
        """The first operand."""
        return self.operand(0)

    def has(self, slot: int) -> bool:
        """Whether operand ``slot`` is given."""
        return slot < len(self.inputs) and self.inputs[slot] != ""

    def operand(self, slot: int) -> str:
        """The name of operand ``slot``; raises Unsupported where it is omitted."""
        if not self.has(slot):
            self.fail(f"operand {slot} is missing")
        return self.inputs[slot]

    @property
    def given(self) -> list[str]:
        """The names of all operands that are given."""
        return [v for v in self.inputs if v]

    def type(self, slot: int) -> TensorType:
        """The type of operand ``slot``."""
        return self.builder.type(self.operand(slot))

    def type_of(self, value: str) -> TensorType:
        """The type of a value by its name."""
        return self.builder.type(value)

    def shape(self, slot: int) -> tuple[Dim, ...]:
        return self.type(slot).shape

    def rank(self, slot: int) -> int:
        return self.type(slot).rank

    def known(self, slot: int) -> Known:
        """Operand ``slot``, which must not be computed at run time; raises Unsupported where it is."""
        known = self.builder.known(self.operand(slot))
        if known is None:
            value = self.inputs[slot]
            raise Computed(
                f"operand {slot}, '{value}', is computed at run time: it must be a constant", value
            )
        return known

    def is_constant(self, slot: int) -> bool:
        """Whether operand ``slot`` is given and the same in every call."""
        known = self.builder.known(self.inputs[slot]) if self.has(slot) else None
        return known is not None and known.fixed

    def array(self, slot: int) -> np.ndarray:
        """The value of a constant operand; raises Unsupported where it is none."""
        known = self.known(slot)
        if not known.fixed:
            self.fail(f"operand {slot}, '{self.inputs[slot]}', depends on the batch: bind it (shapes=)")
        return known.array

    def ints(self, slot: int) -> tuple[int, ...]:
        """The elements of a constant operand of integers."""
        array = self.array(slot)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            self.fail(f"operand {slot} should be a list of integers, got {self.type(slot)}")
        return tuple(int(i) for i in array.ravel())

    def scalar(self, slot: int) -> Any:
        """The one element of a constant operand, as a Python number."""
        array = self.array(slot)
        if array.size != 1:
            self.fail(f"operand {slot} should be one number, got {self.type(slot)}")
        return array.reshape(()).item()

    def dims(self, slot: int) -> tuple[Dim, ...]:
        """The elements of an operand of integers as extents, of which the batch may be one."""
        if (type_ := self.type(slot)).dtype not in ("int64", "int32") or type_.rank > 1:
            self.fail(f"operand {slot} should be a list of integers, got {type_}")
        return self.known(slot).dims()

    # -- attributes ------------------------------------------------------------------------------

    def has_attribute(self, name: str) -> bool:
        """Whether the attribute is there; it counts as asked for."""
        self.asked.add(name)
        return name in self.attributes

    def ignore(self, *names: str) -> None:
        """These attributes change nothing here."""
        self.asked.update(names)

    def integer(self, name: str, default: Any = NEEDED) -> Any:
        return self._attribute(name, default, int, "an integer")

    def flag(self, name: str, default: bool) -> bool:
        """An integer that stands for yes or no."""
        return bool(self.integer(name, int(default)))

    def number(self, name: str, default: Any = NEEDED) -> Any:
        return self._attribute(name, default, float, "a number")

    def text(self, name: str, default: Any = NEEDED) -> Any:
        return self._attribute(name, default, str, "a string")

    def tensor(self, name: str, default: Any = NEEDED) -> Any:
        return self._attribute(name, default, np.ndarray, "a tensor")

    def integers(self, name: str, default: Any = NEEDED) -> Any:
        return self._list(name, default, int, "integers")

    def numbers(self, name: str, default: Any = NEEDED) -> Any:
        return self._list(name, default, float, "numbers")

    def texts(self, name: str, default: Any = NEEDED) -> Any:
        return self._list(name, default, str, "strings")

    def _list(self, name: str, default: Any, kind: type, what: str) -> Any:
        found = self._attribute(name, default, tuple, what)
        if name in self.attributes and not all(type(v) is kind for v in found):
            self.fail(f"attribute {name} should hold {what}")
        return found

    def _attribute(self, name: str, default: Any, kind: type, what: str) -> Any:
        self.asked.add(name)
        if name not in self.attributes:
            if default is NEEDED:
                self.fail(f"attribute {name} is missing")
            return default
        if not isinstance(found := self.attributes[name], kind):
            self.fail(f"attribute {name} should be {what}")
        return found

    def graph(self, name: str) -> list[str]:
        """Read the graph that is attribute ``name`` as if its nodes stood here; the values of its outputs."""
        self.asked.add(name)
        found = self.attributes.get(name)
        if not hasattr(found, "node"):
            self.fail(f"attribute {name} should be a graph")
        return self.subgraph(found)

    # -- results ---------------------------------------------------------------------------------

    def last(self, op: Op, *operands: str) -> None:
        """Make the results of the node: output i of ``op`` is output i of the node."""
        count = len(op.infer(*(self.type_of(v) for v in operands[: op.data_count(len(operands))])))
        if any(self.outputs[count:]):
            self.fail(f"{self.kind} has {count} results here, {len(self.outputs)} are asked for")
        given = [*self.outputs[:count], *[""] * (count - len(self.outputs))]
        spare = f"{next(filter(None, self.outputs), self.name)}.unused"
        self.builder.add(op, list(operands), [name or self.builder.fresh(spare) for name in given])

    def part(self, op: Op, *operands: str) -> str:
        """Apply an operator of one result on the way; returns the name of its value."""
        output = self.builder.fresh(f"{self.outputs[0]}.{op.name}")
        self.builder.add(op, list(operands), [output])
        return output

    def result(self, value: str, index: int = 0) -> None:
        """Output ``index`` is the value ``value``; nothing where that output is not asked for."""
        if index < len(self.outputs) and self.outputs[index]:
            self.builder.alias(self.outputs[index], value)

    def constant(self, array: np.ndarray, name: str = "constant") -> str:
        """A new constant; ``array`` is not copied, and may be a broadcast view."""
        name = self.builder.fresh(f"{self.outputs[0]}.{name}")
        self.builder.define(name, Known.of(array))
        return name

    def extents(self, dims: tuple[Dim, ...], rank: int = 1) -> str:
        """A new int64 value of rank 1 (or 0, for one extent), known at import; ``"N"`` may be in ``dims``."""
        name = self.builder.fresh(f"{self.outputs[0]}.extents")
        arrays = extents(dims)
        self.builder.define(name, Known.of(*(a if rank else a.reshape(()) for a in arrays)))
        return name

    def fail(self, reason: str) -> NoReturn:
        """Raise Unsupported: this node cannot be served, and why."""
        raise Unsupported(reason)

    def refuse_unless(self, condition: bool, reason: str) -> None:
        if not condition:
            self.fail(reason)

    def checked(self) -> None:
        """Called when the row is done; raises Unsupported for attributes that it never asked for."""
        left = sorted(self.attributes.keys() - self.asked)
        if left:
            self.fail(f"attribute {', '.join(left)} is not supported")


def read_as(make: Callable[[], Op]) -> Callable[[ReadCall], None]:
    """The row of an operator with the same operands as ``make()`` and nothing to set."""

    def read(call: ReadCall) -> None:
        call.ignore("consumed_inputs")
        call.last(make(), *call.inputs)

    return read
