"""From a candidate to its graph, within the service's limits."""

from __future__ import annotations

from collections.abc import Callable

from api.rest.candidates import Blueprint, Candidate
from api.rest.settings import Settings
from perfsage.errors import InvalidModelError, UnknownNameError
from perfsage.graph import Graph, read_graph
from perfsage.graph.structure import MAGIC, read_structure

Lookup = Callable[[str], bytes | None]
"""From the sha256 of an uploaded model to its bytes or structure, None where it was not uploaded."""


class UnknownModelError(UnknownNameError):
    """No model of that hash was uploaded to this service, or it was forgotten."""

    slug = "unknown-model"


def read_candidate(candidate: Candidate, lookup: Lookup, settings: Settings) -> Graph:
    """Return the graph; InvalidModelError, UnknownModelError or InvalidInputError say why there is none."""
    if candidate.blueprint is not None:
        return read_limited(build(candidate.blueprint), settings)
    data = candidate.data
    if data is None:
        assert candidate.sha256 is not None
        if (data := lookup(candidate.sha256)) is None:
            hint = f"Upload it first: PUT /v1/models/{candidate.sha256}."
            raise UnknownModelError("there is no model with this sha256", where=candidate.sha256, hint=hint)
    return read_limited(data, settings)


def read_limited(data: bytes, settings: Settings) -> Graph:
    """Return the graph of a model or structure that is not too large to be predicted in reasonable time."""
    is_structure = data[: len(MAGIC)] == MAGIC
    graph = read_structure(data, max_body_bytes=settings.max_body_bytes) if is_structure else read_graph(data)
    operators = sum(len(subgraph.operators) for subgraph in graph.subgraphs)
    if operators > settings.max_operators:
        raise InvalidModelError(
            f"the model has {operators:,} operators, and this service reads {settings.max_operators:,}",
            hint="The service's setting max_operators decides.",
        )
    return graph


def build(blueprint: Blueprint) -> bytes:
    """Return the .tflite file of a network of a search space."""
    from dataset.builder import Dtype
    from dataset.spaces import get_space
    from dataset.spaces.known import known_space

    dtype: Dtype = "int8" if blueprint.dtype == "int8" else "float32"
    if blueprint.architecture is not None:
        return known_space(blueprint.space).parse(blueprint.architecture).build(dtype).data
    assert blueprint.seed is not None
    return get_space(blueprint.space).build(blueprint.seed, dtype).data
