"""Finding what went wrong: which pass, rewrite, tensor or kernel; a small model that shows it.

``bisect(graph, passes)`` names the first fault, ``shrink(graph, fails)`` cuts the graph down.
"""

from nbcnn.debug.bisect import Fault, PassRun, Report, bisect
from nbcnn.debug.compare import Tensor, differences
from nbcnn.debug.shrink import shrink

__all__ = ["Fault", "PassRun", "Report", "Tensor", "bisect", "differences", "shrink"]
