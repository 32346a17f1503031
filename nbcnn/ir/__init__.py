"""The graph: typed values, operators by contract, and the one way of editing it (the Rewriter)."""

from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.op import Op, Param, Sample, Work
from nbcnn.ir.rewriter import Rewriter
from nbcnn.ir.types import BATCH, Dim, TensorType
from nbcnn.ir.verify import verify
from nbcnn.ir.weight import Sparsity, Weight

__all__ = [
    "BATCH",
    "Dim",
    "Graph",
    "Node",
    "Op",
    "Param",
    "Rewriter",
    "Sample",
    "Sparsity",
    "TensorType",
    "Weight",
    "Work",
    "verify",
]
