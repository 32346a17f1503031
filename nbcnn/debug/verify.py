"""``--verify``: each pass of a run held to its contract by the float64 reference, on seeded inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbcnn import reference
from nbcnn.debug import inputs as noise
from nbcnn.debug.bisect import METRICS
from nbcnn.debug.compare import Tensor, differences
from nbcnn.debug.inputs import Inputs
from nbcnn.errors import PassError
from nbcnn.ir import Graph
from nbcnn.passes.base import EXACT, Lossy
from nbcnn.passes.runner import Record


@dataclass(frozen=True)
class Verdict:
    """Whether one run of a pass kept its contract; ``tensor`` is the first value that is wrong."""

    step: str
    contract: str
    right: bool
    note: str
    tensor: Tensor | None = None


class Verifier:
    """A hook for `nbcnn.passes.run`: a verdict per pass run, in ``verdicts``.

    EXACT passes must keep every value that bears its old name bit by bit, REASSOCIATES ones up to
    what the rounding of new weights explains; of a lossy pass the metric is compared with its promise.
    """

    def __init__(self, graph: Graph, inputs: Inputs | None = None) -> None:
        self.inputs = noise.seeded(graph) if inputs is None else inputs
        self.verdicts: list[Verdict] = []

    def __call__(self, record: Record, before: Graph, after: Graph) -> None:
        contract = record.step.contract
        if before is after:
            right, note, tensor = True, "nothing changed", None
        elif isinstance(contract, Lossy):
            right, note = self._metric(contract, before, after)
            tensor = None
        else:
            right, note, tensor = self._values(before, after, contract == EXACT)
        self.verdicts.append(Verdict(str(record.step), str(contract), right, note, tensor))

    def check(self) -> None:
        """Raise PassError that names the first pass that broke its contract."""
        for verdict in self.verdicts:
            if not verdict.right:
                raise PassError(
                    f"pass '{verdict.step}' broke its contract ({verdict.contract}): {verdict.note}"
                )

    def _values(self, before: Graph, after: Graph, exact: bool) -> tuple[bool, str, Tensor | None]:
        count = 0
        for tensor in differences(before, after, self.inputs, exact=exact):
            count += 1
            if not tensor.right:
                limit = "not the same bit by bit" if exact else f"{tensor.excess:.3g} times its tolerance off"
                return False, f"'{tensor.name}' is {limit} (SQNR {tensor.sqnr:.1f} dB)", tensor
        if not count:
            return True, "structure alone changed", None
        return (
            True,
            f"{count} {'value' if count == 1 else 'values'} {'equal' if exact else 'within rounding'}",
            None,
        )

    def _metric(self, contract: Lossy, before: Graph, after: Graph) -> tuple[bool, str]:
        metric = METRICS.get(contract.metric)
        if metric is None:
            return True, f"not judged: {contract.metric} cannot be told from the results"
        loss = metric(*(reference.run(g, self.inputs, np.float64) for g in (before, after)))
        return loss <= contract.bound, f"{contract.metric} {loss:.3g}, promised {contract.bound:.3g}"
