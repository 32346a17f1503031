"""Pipelines as command-line text: ``fold-constants, prune{sparsity=0.9}, repeat{passes=[a, b]}``.

The text and YAML hold the same data, a list of names and single-key mappings ``{name: {option: value}}``:

    list    = item {"," item}
    item    = WORD ["{" [option {"," option}] "}"]
    option  = WORD "=" value
    value   = item | scalar | "[" [value {"," value}] "]" | "{" options "}"

Scalars follow the YAML 1.2 core schema, as the model files do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from nbcnn.errors import PassError
from nbcnn.yaml_reader import scalar

_TOKEN = re.compile(r"""\s*(?:([{}\[\],=])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],="]+))""")


def parse(text: str) -> list[Any]:
    """The data that ``text`` spells; raises PassError that points at what is wrong."""
    parser = _Parser(text)
    return parser.values(end=None)


def dump(data: Sequence[Any]) -> str:
    """``data`` as text that `parse` reads back."""
    return ", ".join(map(_dump, data))


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(options := next(iter(value.values())), dict):
            return f"{next(iter(value))}{_dump_options(options)}"
        return _dump_options(value)
    if isinstance(value, list | tuple):
        return f"[{dump(value)}]"
    if isinstance(value, str):
        return value if _is_word(value) else json.dumps(value)
    return json.dumps(value)


def _dump_options(options: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}={_dump(value)}" for key, value in options.items()) + "}"


def _is_word(value: str) -> bool:
    """Whether a string without quotes is read back as itself."""
    match = _TOKEN.fullmatch(value)
    try:
        return match is not None and match[3] == value == scalar(value)
    except ValueError:
        return False


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str | None:
        match = _TOKEN.match(self.text, self.at)
        if match is None and self.text[self.at :].strip():
            raise self.error("a name or a value")
        return match[0].strip() if match else None

    def take(self) -> str | None:
        token = self.peek()
        if match := _TOKEN.match(self.text, self.at):
            self.at = match.end()
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            raise self.error(f"'{token}'")
        self.take()

    def error(self, wanted: str) -> PassError:
        rest = self.text[self.at :].strip()
        found = f"at '{rest[:20]}'" if rest else "at its end"
        return PassError(f"pipeline text {found}: expected {wanted}")

    def values(self, end: str | None) -> list[Any]:
        """Values up to the token ``end`` (None: the end of the text), which is taken."""
        found: list[Any] = []
        while self.peek() != end:
            if found:
                self.expect(",")
            found.append(self.value())
        self.take()
        return found

    def value(self) -> Any:
        token = self.peek()
        if token is None or token in "}],=":
            raise self.error("a name or a value")
        if token == "{":
            return self.options()
        self.take()
        if token == "[":
            return self.values(end="]")
        quoted = token.startswith('"')
        if not quoted and self.peek() == "{":
            return {token: self.options()}
        try:
            return json.loads(token) if quoted else scalar(token)
        except ValueError as error:
            raise PassError(f"pipeline text at '{token[:20]}': {error}") from None

    def options(self) -> dict[str, Any]:
        self.expect("{")
        found: dict[str, Any] = {}
        while self.peek() != "}":
            if found:
                self.expect(",")
            key = self.take()
            if key is None or not re.match(r"\w", key):
                raise self.error("an option's name")
            if key in found:
                raise PassError(f"pipeline text gives the option '{key}' twice")
            self.expect("=")
            found[key] = self.value()
        self.expect("}")
        return found
