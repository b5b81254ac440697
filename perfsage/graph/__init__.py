"""From the bytes of a .tflite file to an immutable graph."""

from perfsage.graph.columns import Columns
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.ragged import Ragged
from perfsage.graph.reader import read_graph
from perfsage.graph.statistics import TensorStatistics
from perfsage.graph.stripping import blank_weights, strip_weights
from perfsage.graph.structure import read_structure
from perfsage.graph.views import Operator, Quantization, Signature, Tensor

__all__ = [
    "Columns",
    "Graph",
    "Operator",
    "Quantization",
    "Ragged",
    "Signature",
    "Subgraph",
    "Tensor",
    "TensorStatistics",
    "blank_weights",
    "read_graph",
    "read_structure",
    "strip_weights",
]
