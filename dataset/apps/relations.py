"""Which models are the same, fine-tuned copies, or share a backbone: by structure and by layer weights.

Two models are compared by the bytes of weights that both have, over those of the smaller one. Layers are
matched by fingerprints, which SQL joins; a layer that more than COMMON models have links none of them, since
the pairs would be too many and say nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dataset.apps.schema import app_layers, app_models
from dataset.extras import sa

FINE_TUNED, RETRAINED, BACKBONE, SAME_WEIGHTS = (
    "fine-tuned copy",
    "same structure, other weights",
    "shared backbone",
    "same structure and weights",
)
MIN_SHARED: Final = 0.2
"""Share of the smaller model's weights from which two structures are said to share a backbone."""
COMMON: Final = 200


@dataclass(frozen=True, slots=True)
class Relation:
    """Two models by their numbers in the database; `shared` is the share of the smaller one's weights."""

    first: int
    second: int
    relation: str
    shared: float


def find_relations(connection: sa.Connection) -> list[Relation]:
    """Return the related pairs of different files, those that share most first."""
    sizes = _weight_bytes(connection)
    shared = _shared_bytes(connection)
    graphs = dict(
        connection.execute(
            sa.select(app_models.c.id, app_models.c.graph_id).where(app_models.c.graph_id.is_not(None))
        ).all()
    )
    pairs = set(shared) | set(_same_structure(graphs))
    found = (_relation(pair, shared[pair], sizes, graphs) for pair in sorted(pairs))
    return sorted((r for r in found if r is not None), key=lambda r: (-r.shared, r.first, r.second))


def _weight_bytes(connection: sa.Connection) -> dict[int, int]:
    query = sa.select(app_layers.c.app_model_id, sa.func.sum(app_layers.c.bytes)).group_by(
        app_layers.c.app_model_id
    )
    return {number: int(total) for number, total in connection.execute(query)}


def _shared_bytes(connection: sa.Connection) -> Counter[tuple[int, int]]:
    """Return the bytes of the layers that two models share, by pair."""
    common = (
        sa.select(app_layers.c.fingerprint)
        .group_by(app_layers.c.fingerprint)
        .having(sa.func.count().between(2, COMMON))
        .subquery()
    )
    one, two = app_layers.alias("one"), app_layers.alias("two")
    query = (
        sa.select(one.c.app_model_id, two.c.app_model_id, sa.func.sum(one.c.bytes))
        .select_from(common)
        .join(one, one.c.fingerprint == common.c.fingerprint)
        .join(two, two.c.fingerprint == common.c.fingerprint)
        .where(one.c.app_model_id < two.c.app_model_id)
        .group_by(one.c.app_model_id, two.c.app_model_id)
    )
    return Counter({(first, second): int(total) for first, second, total in connection.execute(query)})


def _same_structure(graphs: dict[int, bytes]) -> list[tuple[int, int]]:
    """Return each model with the next one of the same structure, so that large groups stay small."""
    groups: dict[bytes, list[int]] = {}
    for number, graph_id in sorted(graphs.items()):
        groups.setdefault(bytes(graph_id), []).append(number)
    return [pair for group in groups.values() for pair in pairwise(group)]


def _relation(
    pair: tuple[int, int], shared_bytes: int, sizes: dict[int, int], graphs: dict[int, bytes]
) -> Relation | None:
    smaller = min(sizes.get(number, 0) for number in pair)
    shared = min(shared_bytes / smaller, 1.0) if smaller else 0.0
    if graphs.get(pair[0]) == graphs.get(pair[1]):
        whole = shared_bytes == max(sizes.get(number, 0) for number in pair)
        kind = SAME_WEIGHTS if whole else FINE_TUNED if shared_bytes else RETRAINED
    elif shared >= MIN_SHARED:
        kind = BACKBONE
    else:
        return None
    return Relation(*pair, kind, round(shared, 4))
