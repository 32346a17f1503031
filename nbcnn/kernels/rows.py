"""Windows along one axis of an image, and which rows of it some rows of the result need."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Walk:
    """The windows along one axis of ``size`` points; ``out`` is how many there are, the rest as in `Conv`."""

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def padded(self) -> int:
        return self.size + self.before + self.after

    @property
    def idle(self) -> bool:
        """Whether each point is a window of its own."""
        return self.kernel == self.stride == 1

    @property
    def meets(self) -> bool:
        """Whether no window lies in the padding as a whole."""
        return self.before <= self._reach and (self.out - 1) * self.stride - self.before < self.size

    @property
    def _reach(self) -> int:
        """From the first point of a window to its last."""
        return (self.kernel - 1) * self.dilation

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The points [first, last) of the operand that the windows [first, last) cover."""
        begin = first * self.stride - self.before
        end = (last - 1) * self.stride - self.before + self._reach + 1
        return max(begin, 0), min(end, self.size)

    def part(self, first: int, last: int) -> Walk:
        """The windows [first, last) by themselves, over the points that they need and no others."""
        low, high = self.needs(first, last)
        above = low - (first * self.stride - self.before)
        return replace(
            self, size=high - low, out=last - first, before=above, after=self.size + self.after - high
        )
