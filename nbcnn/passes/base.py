"""The contract of a pass: a frozen dataclass whose fields are its options, edited through a Rewriter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from nbcnn.errors import PassError, nearest
from nbcnn.ir import Rewriter
from nbcnn.passes import table, text


@dataclass(frozen=True)
class Contract:
    """What a pass may do to the numbers; tests and ``--verify`` take their tolerance from it."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Lossy(Contract):
    """Numbers may change: ``metric`` (such as ``top1_drop``) is promised to stay within ``bound``."""

    kind: str = "lossy"
    metric: str = ""
    bound: float = 0.0

    def __str__(self) -> str:
        return f"lossy({self.metric} <= {self.bound})"


EXACT = Contract("exact")
"""Structure only: in the reference every kept value is the same, bit by bit."""

REASSOCIATES = Contract("reassociates")
"""The same numbers in exact arithmetic; rounding may differ."""


@dataclass(frozen=True)
class Pass:
    """Base of all passes: one file each below ``nbcnn/passes``, named in `nbcnn.passes.PASSES`.

    A subclass is a frozen dataclass; its fields are its options, so an instance *is* its spec:
    ``str(pass_)`` is the command-line text (``prune{sparsity=0.9}``), ``pass_.data()`` the YAML.
    """

    name: ClassVar[str]
    contract: ClassVar[Contract]

    def run(self, rw: Rewriter) -> None:
        """Edit ``rw.graph`` by rewrites; call ``rw.refuse(node, why)`` for near misses.

        ``rw.begin`` answers False once the limit on rewrites is reached: leave that place alone.
        """
        raise NotImplementedError

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """An instance with checked options; raises PassError that names the one at fault."""
        known = [f.name for f in fields(cls) if f.init]
        for key in options:
            if key not in known:
                hint = nearest(key, known) if known else "; it takes none"
                raise PassError(f"pass '{cls.name}' has no option '{key}'{hint}")
        for field in fields(cls):
            needed = field.default is MISSING and field.default_factory is MISSING
            if field.init and needed and field.name not in options:
                raise PassError(f"pass '{cls.name}' needs the option '{field.name}'")
        if not options:
            return cls()
        import pydantic  # slow to import, and most passes take no options

        try:
            return pydantic.TypeAdapter(cls).validate_python(dict(options))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise PassError(
                f"pass '{cls.name}', option '{key}': {first['msg']}, got {first['input']!r}"
            ) from None

    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain data."""
        changed = {}
        for field in fields(self):
            value = getattr(self, field.name)
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if field.init and value != default:
                changed[field.name] = list(value) if isinstance(value, tuple) else value
        return changed

    def data(self) -> str | dict[str, dict[str, Any]]:
        """The spec as YAML holds it: a name (see `table.spec`), or ``{name: {option: value}}``."""
        options, name = self.options(), table.spec(type(self))
        return {name: options} if options else name

    def __str__(self) -> str:
        return text.dump([self.data()])
