"""What the apps look like whose scans are in the same database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from api.cli.figures import bytes_figure, count_figure
from api.study.figures import Figure
from api.study.svg import Mark, bars, colour, dot_plot, legend

if TYPE_CHECKING:
    import pandas as pd

    from dataset.apps.report import Report
    from dataset.store import Store

_MOST = 15
_LEAST_MODELS = 3
_SPARSE = 0.2
"""Share of zeros from which weights are called sparse: trained ones have fewer by chance."""


def population_figures(store: Store) -> list[Figure]:
    """Return the charts of the scanned apps; nothing where no model was found."""
    from dataset.apps.listing import models_frame
    from dataset.apps.report import read_report

    found = read_report(store)
    if not found.models:
        return []
    counted = [
        ("Formats of models", "models found", found.by_format, _counts(found)),
        ("States of models", "models found", found.by_state, _STATES),
        ("Tasks of TFLite models", "models found", found.by_task, _TASKS),
        ("Types of TFLite models", "models found", found.by_quantization, ""),
        ("Operators of TFLite models", "operators of different models", found.operators, ""),
        ("Different files that are related", "pairs of models", found.relations, _RELATED),
        ("Libraries and services", "apps", found.sdks, ""),
    ]
    figures = [_bars(name, axis, counts, text) for name, axis, counts, text in counted if counts]
    costs = _costs(models_frame(store).drop_duplicates("model_id"))
    return [*figures[:4], *([costs] if costs else []), *figures[4:]]


_STATES = (
    "Read: parsed completely. Recognized: known by its content. Unreadable and encrypted: its name says so."
)
_TASKS = "By rules over names, metadata, shapes and operators; unknown where no evidence is strong enough."
_RELATED = "By the layers' weights that two models share, and by their structures."


def _counts(found: Report) -> str:
    return (
        f"{found.apps_with_models:,} of {found.apps:,} apps carry models: {found.models:,} files, "
        f"{found.distinct_models:,} different; the TFLite models have {found.structures:,} structures."
    )


def _bars(title: str, axis: str, counts: Mapping[str, int], caption: str) -> Figure:
    shown = list(counts.items())[:_MOST]
    rows = [(label, [(float(count), colour(0), f"{label}: {count:,}")]) for label, count in shown]
    if len(counts) > len(shown):
        caption = f"{caption} {len(counts) - len(shown):,} rarer ones are left out.".strip()
    return Figure(title, bars(axis, rows, show=lambda value: f"{value:,.0f}"), caption)


def _costs(models: pd.DataFrame) -> Figure | None:
    """Return the MACs of each different TFLite model by task; None where there are too few."""
    read = models[models["macs"].fillna(0) > 0]
    if len(read) < _LEAST_MODELS:
        return None
    kinds = {kind: colour(place) for place, kind in enumerate(read["quantization"].value_counts().index)}
    names = ("task", "macs", "quantization", "path", "parameters")
    marks = [
        (task, Mark(float(macs), 0, kind, f"{path}: {count_figure(macs)} MACs, {parameters:,} parameters"))
        for task, macs, kind, path, parameters in read[list(names)].itertuples(index=False)
    ]
    tasks = read.groupby("task")["macs"].median().sort_values().index
    chart = dot_plot("MACs", list(tasks), marks, kinds)
    return Figure("MACs of each model, by task", legend(list(kinds.items())) + chart, _medians(read))


def _medians(read: pd.DataFrame) -> str:
    macs, parameters, size = (read[name].median() for name in ("macs", "parameters", "bytes"))
    text = (
        f"Of {len(read):,} different TFLite models with MACs, the median has {count_figure(int(macs))} MACs, "
        f"{count_figure(int(parameters))} parameters and {bytes_figure(int(size))}."
    )
    weighted = read[read["sparsity"].notna()]
    if len(weighted):
        sparse = int((weighted["sparsity"] >= _SPARSE).sum())
        text += (
            f" {sparse:,} have weights of which a fifth or more are zero; the entropy of weights is "
            f"{weighted['entropy_bits'].median():.1f} bits an element in the median."
        )
    return text
