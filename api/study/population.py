"""What the apps look like whose scans are in the same database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from api.study.figures import Figure
from api.study.svg import bars, colour

if TYPE_CHECKING:
    from dataset.store import Store

_MOST = 15


def population_figures(store: Store) -> list[Figure]:
    """Return one chart a kind of count; nothing where no app was scanned."""
    from dataset.apps.report import read_report

    found = read_report(store)
    if not found.models:
        return []
    caption = (
        f"{found.apps_with_models:,} of {found.apps:,} apps carry models: {found.models:,} files, "
        f"{found.distinct_models:,} different, {found.structures:,} structures."
    )
    titles = {"Formats": found.by_format, "Tasks": found.by_task, "Types": found.by_quantization}
    counted = {**titles, "Operators": found.operators, "Libraries and services": found.sdks}
    return [_figure(name, counts, caption) for name, counts in counted.items() if counts]


def _figure(name: str, counts: Mapping[str, int], caption: str) -> Figure:
    shown = list(counts.items())[:_MOST]
    rows = [(label, [(float(count), colour(0), f"{label}: {count:,}")]) for label, count in shown]
    chart = bars("count", rows, show=lambda value: f"{value:,.0f}")
    return Figure(name, chart, caption)
