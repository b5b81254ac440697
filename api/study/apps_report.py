"""The report of a scan of apps: one HTML file that needs nothing else, and its tables."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from api.study.page import page, table
from api.study.population import population_figures
from api.study.tables import app_frames, write_frames

if TYPE_CHECKING:
    from dataset.apps.report import Report
    from dataset.store import Store

_MOST_PAIRS = 40


def write_apps_report(store: Store, folder: Path) -> tuple[Path, ...]:
    """Write report.html and the tables of models and libraries into `folder`; return the paths."""
    from dataset.apps.report import read_report

    found = read_report(store)
    folder.mkdir(parents=True, exist_ok=True)
    html = folder / "report.html"
    sections = {"What apps carry": population_figures(store)}
    html.write_text(page("Models in apps", _summary(found), sections, _tables(found)), encoding="utf-8")
    return (html, *write_frames(app_frames(store), folder))


def _summary(found: Report) -> str:
    statuses = ", ".join(f"{count:,} {status}" for status, count in found.by_status.items())
    return (
        f"<p>{found.apps:,} apps in {found.archives:,} archives ({escape(statuses or 'none')}): "
        f"{found.apps_with_models:,} carry models, {found.apps_with_ml:,} carry models or use a library or "
        "service of machine learning.</p>"
    )


def _tables(found: Report) -> str:
    popular = [
        [_path(m.name), m.format, escape(m.task or "unknown"), f"{m.bytes:,}", f"{m.apps:,}"]
        for m in found.popular
    ]
    pairs = [
        [_path(pair.first), _path(pair.second), pair.relation, f"{pair.shared:.0%}"]
        for pair in found.shared[:_MOST_PAIRS]
    ]
    odd = [[escape(text), f"{count:,}"] for text, count in found.problems.items()]
    odd += [[f"given up: {escape(reason)}", f"{count:,}"] for reason, count in found.refusals.items()]
    made = (
        ("Models in several apps", ("model", "format", "task", "bytes", "apps"), popular),
        ("Models that are related", ("model", "other model", "relation", "shared weights"), pairs),
        ("Oddities", ("what", "archives"), odd),
    )
    shown = [f"<h3>{title}</h3>{table(names, rows)}" for title, names, rows in made if rows]
    return "<h2>Tables</h2>" + "".join(shown) if shown else ""


def _path(text: str) -> str:
    """Return a path that a narrow column may break after slashes and underscores."""
    return re.sub("([/_])", r"\1<wbr>", escape(text))
