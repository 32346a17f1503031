"""Byte memories that check every access: alignment, and that the bytes belong to somebody."""

from __future__ import annotations

import numpy as np

BASE = 0x10000


class BadAccess(AssertionError):
    """An access outside what was allocated, or misaligned."""


class Memory:
    """``size`` bytes from address ``base`` on, of NaN in every floating type."""

    def __init__(self, base: int, size: int, owned: bool) -> None:
        self.base = base
        self.bytes = np.full(-(-size // 16) * 16, 0xFF, np.uint8)
        self.owned = np.full(len(self.bytes) // 16, owned)

    def places(self, address: np.ndarray, size: int) -> np.ndarray:
        """Indices, in units of ``size`` bytes, of the given addresses."""
        offset = address.astype(np.int64) - self.base
        if (offset % size).any():
            raise BadAccess(f"misaligned access of {size} bytes at {address[offset % size != 0][0]:#x}")
        outside = (offset < 0) | (offset >= len(self.bytes))
        if outside.any() or not self.owned[offset // 16].all():
            raise BadAccess(f"access outside any allocation, among {address.min():#x}..{address.max():#x}")
        return offset // size

    def read(self, address: np.ndarray, words: int) -> np.ndarray:
        """[lanes, words] of uint32."""
        return self.bytes.view(np.uint32).reshape(-1, words)[self.places(address, 4 * words)]

    def write(self, address: np.ndarray, words: np.ndarray) -> None:
        count = words.shape[1]
        self.bytes.view(np.uint32).reshape(-1, count)[self.places(address, 4 * count)] = words


class Device(Memory):
    """Global memory; ``put`` allocates."""

    def __init__(self, size: int = 16 << 20) -> None:
        super().__init__(BASE, size, owned=False)
        self._next = BASE

    def put(self, array: np.ndarray) -> int:
        """The address of a copy of ``array``: a multiple of 256, with nobody's bytes behind it."""
        array = np.ascontiguousarray(array)
        address, offset = self._next, self._next - BASE
        self.bytes[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        self.owned[offset // 16 : -(-(offset + array.nbytes) // 16)] = True
        self._next = -(-(address + array.nbytes + 64) // 256) * 256
        return address

    def get(self, address: int, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.bytes[address - BASE : address - BASE + count].view(dtype).reshape(shape).copy()
