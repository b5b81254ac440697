"""What the population of scanned apps looks like."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dataset.apps.relations import Relation, find_relations
from dataset.apps.schema import app_archives, app_findings, app_models, app_sdks
from dataset.connect import reading
from dataset.extras import sa
from dataset.store import Store

_MOST = 20


@dataclass(frozen=True, slots=True)
class Popular:
    """A model file that several apps have."""

    model_id: str
    name: str
    format: str
    task: str | None
    bytes: int
    apps: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different model files that are related; names are those of one place where each was found."""

    first: str
    second: str
    relation: str
    shared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts over all scanned archives. An app is a package; an archive without a package counts as one.

    Counts of models are of findings: a file that three apps have counts three times, except in
    `distinct_models` and `structures`.
    """

    archives: int
    apps: int
    apps_with_models: int
    apps_with_ml: int
    models: int
    distinct_models: int
    structures: int
    by_status: Mapping[str, int]
    by_format: Mapping[str, int]
    by_state: Mapping[str, int]
    by_task: Mapping[str, int]
    by_quantization: Mapping[str, int]
    operators: Mapping[str, int]
    sdks: Mapping[str, int]
    sdk_kinds: Mapping[str, int]
    problems: Mapping[str, int]
    refusals: Mapping[str, int]
    relations: Mapping[str, int]
    popular: tuple[Popular, ...]
    shared: tuple[Pair, ...]

    def counts(self) -> dict[str, Mapping[str, int]]:
        """Return the tables of counts that a person reads first, by their titles."""
        return {
            "format": self.by_format,
            "state": self.by_state,
            "task": self.by_task,
            "quantization": self.by_quantization,
            "library or service": self.sdks,
            "archive": self.by_status,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return asdict(self)


def read_report(store: Store) -> Report:
    """Return the report of a dataset's apps."""
    with reading(store.engine) as connection:
        app = _app()
        archives = connection.execute(sa.select(sa.func.count()).select_from(app_archives)).scalar_one()
        relations = find_relations(connection)
        names = _names(connection, relations)
        return Report(
            archives=archives,
            apps=_distinct(connection, sa.select(app)),
            apps_with_models=_distinct(connection, sa.select(app).join(app_findings)),
            apps_with_ml=_distinct(
                connection, sa.union(sa.select(app).join(app_findings), sa.select(app).join(app_sdks))
            ),
            models=connection.execute(sa.select(sa.func.count()).select_from(app_findings)).scalar_one(),
            distinct_models=_distinct(connection, sa.select(app_findings.c.app_model_id)),
            structures=_distinct(
                connection, sa.select(app_models.c.graph_id).where(app_models.c.graph_id.is_not(None))
            ),
            by_status=_count(connection, app_archives.c.status, app_archives),
            by_format=_count(connection, app_models.c.format),
            by_state=_count(connection, app_models.c.state),
            by_task=_count(connection, app_models.c.task),
            by_quantization=_count(connection, app_models.c.quantization),
            operators=_operators(connection),
            sdks=_apps_by(connection, app_sdks.c.sdk),
            sdk_kinds=_apps_by(connection, app_sdks.c.kind),
            problems=_problems(connection),
            refusals=_count(connection, app_archives.c.reason, app_archives),
            relations=dict(Counter(relation.relation for relation in relations).most_common()),
            popular=tuple(_popular(connection)),
            shared=tuple(
                Pair(names[r.first], names[r.second], r.relation, r.shared) for r in relations[:200]
            ),
        )


def _app() -> sa.Label[str]:
    """Return who an archive belongs to: its package, or itself where it has none."""
    alone = sa.literal("#") + sa.cast(app_archives.c.id, sa.Text)
    return sa.func.coalesce(app_archives.c.package, alone).label("app")


def _distinct(connection: sa.Connection, query: Any) -> int:
    rows = query.subquery()
    [column] = rows.c
    count: int = connection.execute(sa.select(sa.func.count(sa.distinct(column)))).scalar_one()
    return count


def _count(
    connection: sa.Connection, column: sa.Column[Any], table: sa.Table | None = None
) -> dict[str, int]:
    """Count the values of a column: over findings, or over the rows of `table`."""
    source = app_findings.join(app_models) if table is None else table
    number = sa.func.count()
    query = (
        sa.select(column, number)
        .select_from(source)
        .where(column.is_not(None))
        .group_by(column)
        .order_by(number.desc(), column)
    )
    return dict(connection.execute(query).all())


def _apps_by(connection: sa.Connection, column: sa.Column[str]) -> dict[str, int]:
    number = sa.func.count(sa.distinct(_app().element))
    query = (
        sa.select(column, number)
        .select_from(app_sdks.join(app_archives))
        .group_by(column)
        .order_by(number.desc(), column)
    )
    return dict(connection.execute(query).all())


def _operators(connection: sa.Connection) -> dict[str, int]:
    """Count the operators of all different models."""
    total: Counter[str] = Counter()
    for (facts,) in connection.execute(sa.select(app_models.c.facts).where(app_models.c.facts.is_not(None))):
        total.update(json.loads(facts)["operators"])
    return dict(total.most_common())


def _problems(connection: sa.Connection) -> dict[str, int]:
    """Count the archives that have each kind of oddity."""
    total: Counter[str] = Counter()
    for (problems,) in connection.execute(sa.select(app_archives.c.problems)):
        total.update(json.loads(problems).keys())
    return dict(total.most_common())


def _popular(connection: sa.Connection) -> list[Popular]:
    apps = sa.func.count(sa.distinct(_app().element))
    model = app_models.c
    query = (
        sa.select(
            model.model_id, sa.func.min(app_findings.c.path), model.format, model.task, model.bytes, apps
        )
        .select_from(app_models.join(app_findings).join(app_archives))
        .group_by(model.model_id, model.format, model.task, model.bytes)
        .having(apps > 1)
        .order_by(apps.desc(), model.model_id)
        .limit(_MOST)
    )
    return [Popular(bytes(row[0]).hex(), *row[1:]) for row in connection.execute(query)]


def _names(connection: sa.Connection, relations: list[Relation]) -> dict[int, str]:
    """Return a place where each related model was found."""
    if not relations:
        return {}
    place = sa.func.min(app_archives.c.path + " " + app_findings.c.path)
    query = (
        sa.select(app_findings.c.app_model_id, place)
        .select_from(app_findings.join(app_archives))
        .group_by(app_findings.c.app_model_id)
    )
    return dict(connection.execute(query).all())
