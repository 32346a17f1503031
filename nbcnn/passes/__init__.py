"""Passes: Graph -> Graph, one file each, and the pipelines that order them.

To add one: write its file (see `nbcnn.passes.Pass` for the contract), add a line to
`nbcnn.passes.table.PASSES`, a line in a pipeline of the top-level ``passes/`` (which holds data only, as this
package holds code only) and a test file.
"""

from nbcnn.passes.base import EXACT, REASSOCIATES, Contract, Lossy, Pass
from nbcnn.passes.pipeline import Pipeline, Repeat
from nbcnn.passes.runner import Hook, Record, Report, optimize, run
from nbcnn.passes.table import PASSES, get

__all__ = [
    "EXACT",
    "PASSES",
    "REASSOCIATES",
    "Contract",
    "Hook",
    "Lossy",
    "Pass",
    "Pipeline",
    "Record",
    "Repeat",
    "Report",
    "get",
    "optimize",
    "run",
]
