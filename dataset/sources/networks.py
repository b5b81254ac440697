"""Records of the networks that others have measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dataset.builder import Dtype
from dataset.records import Network
from dataset.sources.source import wrong
from dataset.spaces.known import known_space
from perfsage.errors import InvalidInputError
from perfsage.graph import Graph, read_graph, strip_weights
from perfsage.graph.costs import graph_macs
from perfsage.measurement import Measurement

NO_OPERATORS = "networks whose output is zero whatever the input: a converter leaves no operator of them"
NO_GRAPH = "the source publishes no graph"
_LARGEST_MODEL_BYTES = 1 << 30
Row = tuple[Network, tuple[Measurement, ...]]


def known_network(space: str, text: str, dtype: Dtype) -> Network | None:
    """Return the network of an architecture, None for one without operators.

    It can be built again from its seed where the space numbers all of its networks, else it keeps its
    structure.
    """
    built = known_space(space).parse(text).build(dtype)
    graph = read_graph(built.data)
    if not any(True for _ in graph.operators):
        return None
    macs, unknown = graph_macs(graph)
    seed = known_space(space).seed_of(text)
    if seed is not None:
        return Network.from_space(space, seed, dtype, built, graph, None if unknown else macs)
    network = Network.from_file(graph, strip_weights(graph), dtype, None if unknown else macs, space)
    return dataclasses.replace(network, architecture=json.dumps(built.architecture, separators=(",", ":")))


def known_rows(
    space: str,
    texts: Sequence[str],
    path: Path,
    left_out: Counter[str],
    measurements: Callable[[int, Network], tuple[Measurement, ...]],
) -> Iterator[Row]:
    """Yield every architecture with its measurements; InvalidInputError names the row that is wrong."""
    for row, text in enumerate(texts):
        try:
            network = known_network(space, text, "float32")
        except InvalidInputError as error:
            raise wrong(f"row {row + 1}: {error.what}", path) from error
        if network is None:
            left_out[NO_OPERATORS] += 1
        else:
            yield network, measurements(row, network)


def file_network(path: Path, family: str) -> Network:
    """Return the network of a .tflite file."""
    if not path.is_file():
        raise wrong("there is no such model", path)
    if path.stat().st_size > _LARGEST_MODEL_BYTES:
        raise wrong(f"the model is larger than {_LARGEST_MODEL_BYTES >> 20} MB", path)
    graph = read_graph(path.read_bytes())
    macs, unknown = graph_macs(graph)
    return Network.from_file(graph, strip_weights(graph), _dtype(graph), None if unknown else macs, family)


def _dtype(graph: Graph) -> str:
    """Return the type that most operators write."""
    main = graph.subgraphs[0]
    types = Counter(main.tensors[operator.outputs[0]].type for operator in main.operators if operator.outputs)
    return types.most_common(1)[0][0].lower() if types else "unknown"


def named_network(source: str, name: str, dtype: str, family: str) -> Network:
    """Return a network of which only the name is known: it has labels, and nothing can be learnt from it.

    Its ids are hashes of its name; counts that a graph would give are 0, since the database has no other
    word, and its architecture says why.
    """
    identity = hashlib.sha256(f"{source}\0{name}\0{dtype}".encode()).hexdigest()
    return Network(
        graph_id=identity,
        model_id=identity,
        dtype=dtype,
        operators=0,
        file_bytes=0,
        family=family,
        architecture=json.dumps({"source": source, "name": name, "graph": NO_GRAPH}),
    )
