"""Networks of a search space that are most worth measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsage.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from dataset.builder import Dtype
    from perfsage.features import GraphFeatures

MOST_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class SuggestionRequest:
    """How many networks to suggest, of how many candidates from which space."""

    predictor: str
    space: str
    count: int
    candidates: int = 200
    first_seed: int = 0
    dtype: str = "int8"
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class SuggestedNetwork:
    """A network to measure: what it is, what it tells, what it should cost, and where it was written."""

    seed: int
    architecture: dict[str, Any]
    gain: float
    cost_ms: float
    path: Path | None


def suggest_networks(request: SuggestionRequest) -> list[SuggestedNetwork]:
    """Return the networks most worth measuring first, and write them where `output` names a folder.

    UnknownNameError for the space, PredictorError for the predictor, InvalidInputError for the numbers.
    """
    try:
        from perfsage.training.suggest import suggest
    except ImportError as error:
        raise MissingExtraError(error.name or "scipy", "train") from error
    from dataset.spaces import get_space
    from perfsage.predictor import load_predictor

    _check(request)
    space, predictor = get_space(request.space), load_predictor(request.predictor)
    seeds = range(request.first_seed, request.first_seed + request.candidates)
    built = _distinct_candidates(request, seeds)
    chosen = suggest(predictor, [features for _, features in built], request.count)
    return [
        SuggestedNetwork(
            seed=(seed := built[one.index][0]),
            architecture=dict(space.sample(seed)),
            gain=one.gain,
            cost_ms=one.cost_ms,
            path=_write(request, seed),
        )
        for one in chosen
    ]


def _check(request: SuggestionRequest) -> None:
    if request.dtype not in ("int8", "float32"):
        raise InvalidInputError(f"there is no dtype {request.dtype!r}", hint="Known: int8, float32.")
    if not 0 < request.count <= request.candidates <= MOST_CANDIDATES:
        raise InvalidInputError(
            f"{request.count} networks cannot be chosen from {request.candidates} candidates",
            hint=f"Choose fewer than there are candidates, and have at most {MOST_CANDIDATES} of these.",
        )


def _dtype(request: SuggestionRequest) -> Dtype:
    return "int8" if request.dtype == "int8" else "float32"


def _distinct_candidates(request: SuggestionRequest, seeds: Sequence[int]) -> list[tuple[int, GraphFeatures]]:
    """Return the features of each structure once; networks without operators are left out."""
    from dataset.spaces import get_space
    from perfsage.features import extract_features
    from perfsage.graph import read_graph

    space, found = get_space(request.space), dict[str, tuple[int, "GraphFeatures"]]()
    for seed in seeds:
        graph = read_graph(space.build(seed, _dtype(request)).data)
        if graph.graph_id not in found and any(len(part.operators) for part in graph.subgraphs):
            found[graph.graph_id] = (seed, extract_features(graph))
    return list(found.values())


def _write(request: SuggestionRequest, seed: int) -> Path | None:
    if request.output is None:
        return None
    from dataset.spaces import get_space

    request.output.mkdir(parents=True, exist_ok=True)
    path = request.output / f"{request.space}-{seed}-{request.dtype}.tflite"
    path.write_bytes(get_space(request.space).build(seed, _dtype(request)).data)
    return path
