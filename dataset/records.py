"""What the database knows of a network, apart from its measurements."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from dataset.spaces import BuiltNetwork
from perfsage.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network: identities, where it comes from, and its size.

    `space` and `seed` are those from which it can be built again. A network without them keeps
    `structure`, its .tflite file without weights (zlib), so that its graph can still be read.
    `architecture` is JSON, or empty. `macs` is None where a cost is unknown.
    """

    graph_id: str
    model_id: str
    dtype: str
    operators: int
    file_bytes: int
    macs: int | None = None
    space: str | None = None
    seed: int | None = None
    family: str = ""
    architecture: str = ""
    structure: bytes | None = None

    @classmethod
    def from_space(
        cls, space: str, seed: int, dtype: str, built: BuiltNetwork, graph: Graph, macs: int | None
    ) -> Network:
        """Return the record of a network that a search space built."""
        return cls(
            graph_id=graph.graph_id,
            model_id=graph.model_id,
            dtype=dtype,
            operators=sum(len(subgraph.operators) for subgraph in graph.subgraphs),
            file_bytes=len(built.data),
            macs=macs,
            space=space,
            seed=seed,
            family=built.family,
            architecture=json.dumps(built.architecture, separators=(",", ":")),
        )

    @classmethod
    def from_file(
        cls, graph: Graph, stripped: bytes, dtype: str, macs: int | None, family: str = ""
    ) -> Network:
        """Return the record of a network that came as a file; `stripped` is the file without weights."""
        return cls(
            graph_id=graph.graph_id,
            model_id=graph.model_id,
            dtype=dtype,
            operators=sum(len(subgraph.operators) for subgraph in graph.subgraphs),
            file_bytes=graph.file_bytes,
            macs=macs,
            family=family,
            structure=zlib.compress(stripped, 9),
        )
