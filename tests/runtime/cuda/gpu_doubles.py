"""What tests of `nbcnn.runtime.cuda.device` run on: `fake_driver`, or the stub of libcuda where a child
process finds it (`test_stub_libcuda`). Both write the same log."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

from fake_driver import FakeDriver
from fake_objects import Settings

from nbcnn.runtime.cuda.cubin import Cubin

STUBBED = "NBCNN_TEST_STUB_LIBCUDA" in os.environ
BYTES = {"u16": 2, "u32": 4, "i32": 4, "f32": 4, "u64": 8, "i64": 8, "map": 128}


@dataclass(frozen=True)
class Kernel:
    """A configuration whose machine code only tells the doubles what they must know.

    ``params`` is ``"x:f32[] n:u32"``. A kernel called ``copy`` copies: target, source, bytes.
    """

    name: str
    signature: str
    threads: int = 128
    blocks: int = 1
    smem: int = 0
    static: int = 0
    factory: str = ""

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        pairs = (word.partition(":") for word in self.signature.split())
        return tuple((name, code) for name, _, code in pairs)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return True

    def cubin(self) -> Cubin:
        sizes = [size for _, c in self.params for size in ([8] * 7 if c.endswith("[]") else [BYTES[c]])]
        code = " ".join([self.name, *map(str, sizes)]).encode() + b"\0"
        return Cubin(code, self.name, "sm_90a", 32, 0, 0, 0, self.static, (), ())


COPY = Kernel("copy", "target:u64 source:u64 nbytes:u32")


class Double:
    """A driver of the tests' own: what GPU it shows, what fails, what was asked of it."""

    def __init__(self) -> None:
        self._settings = Settings()
        self.fake = None if STUBBED else FakeDriver()
        self.stub: Any = ctypes.CDLL("libcuda.so.1") if STUBBED else None
        if STUBBED:
            self.stub.stub_log.restype = ctypes.c_char_p
            self.stub.stub_forget()
        self.show()
        self.fail("", 0, 0)
        self.log()

    def load(self) -> Any:
        """The driver's module."""
        return self.fake or import_module("cuda.bindings.driver")

    def show(self, **settings: int) -> None:
        """``devices``, ``version``, ``major``, ``minor``, ``shared``, ``memory`` as they are from now on."""
        self._settings = replace(self._settings, **settings)
        if self.fake:
            self.fake.gpu = self._settings
        else:
            *numbers, memory = asdict(self._settings).values()
            self.stub.stub_gpu(*numbers, ctypes.c_size_t(memory))

    def fail(self, name: str, code: int, times: int = 1) -> None:
        """The next calls of a function (``*``: of any) give ``code``; -1 times is for good."""
        if self.fake:
            self.fake.fail(name, code, times)
        else:
            self.stub.stub_fail(name.encode(), code, times)

    @property
    def depth(self) -> int:
        """How many contexts are current in this thread."""
        return self.fake.depth if self.fake else self.stub.stub_depth()

    def log(self) -> list[str]:
        """What was asked since the last time; handles are numbered in the order in which they appear."""
        if self.fake:
            text = "\n".join(self.fake.lines)
            self.fake.lines.clear()
        else:
            text = self.stub.stub_log().decode()
            self.stub.stub_clear()
        seen: dict[str, list[str]] = {}

        def number(found: re.Match) -> str:
            kind = seen.setdefault(found[1], [])
            if found[2] not in kind:
                kind.append(found[2])
            return f"{found[1]}{kind.index(found[2]) + 1}"

        handles = r"\b(context|stream|module|graph|node|exec|event)(\d+)\b"
        return [re.sub(handles, number, line) for line in text.splitlines()]
