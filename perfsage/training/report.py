"""An evaluation as one HTML file that needs nothing else: tables, and plots as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfsage.metrics import Metric
from perfsage.training.evaluate_scores import Judged, scores_of
from perfsage.training.options import Score
from perfsage.training.report_svg import bars, scatter

MOST_FAMILIES = 12
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --paper: #fff; --line: #d5dbe1; --mark: #2367a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde3e9; --paper: #14181d; --line: #37414b; --mark: #6fb1f2; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
td { white-space: nowrap; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; vertical-align: bottom; } th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
svg { font: 11px system-ui, sans-serif; max-width: 100%; height: auto; }
svg text { fill: var(--ink); } svg circle, svg rect { fill: var(--mark); fill-opacity: .55; }
svg .frame { fill: none; stroke: var(--line); } svg .grid { stroke: var(--line); stroke-width: .5; }
svg .ideal { stroke: var(--ink); stroke-dasharray: 4 3; } svg .faint { fill-opacity: .2; }
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One way to split: what it is called, and what came of it."""

    title: str
    judged: tuple[Judged, ...]


def html_report(title: str, facts: Mapping[str, str], parts: Sequence[Part]) -> str:
    """Return the text of the file; `facts` are shown at the top by name."""
    listed = "".join(f"<li>{html.escape(name)}: {html.escape(text)}</li>" for name, text in facts.items())
    body = "".join(_part(part) for part in parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><ul>{listed}</ul>{body}</body></html>\n"
    )


def _part(part: Part) -> str:
    scores = [score for judged in part.judged for score in scores_of(judged)]
    plots = "".join(_plots(judged) for judged in part.judged)
    return f"<section><h2>{html.escape(part.title)}</h2>{_table(scores)}{plots}</section>"


def _table(scores: Sequence[Score]) -> str:
    names = list(dict.fromkeys(name for score in scores for name in score.baseline_mape))
    heads = ["device", "metric", "space", "n", "MAPE %", "median %", "within 5 %", "within 10 %"]
    heads += [
        "Spearman",
        "coverage",
        "interval width",
        "noise floor %",
        *(f"{name}: MAPE %" for name in names),
    ]
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(score, names))}</tr>" for score in scores
    )
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(score: Score, names: Sequence[str]) -> list[str]:
    baselines = [score.baseline_mape.get(name) for name in names]
    return [
        *(html.escape(text) for text in (score.device, score.metric, score.space)),
        str(score.n),
        f"{score.mape:.2f}",
        f"{score.median_ape:.2f}",
        f"{score.within_5:.1%}",
        f"{score.within_10:.1%}",
        _figure(score.spearman, ".3f"),
        f"{score.coverage:.1%}",
        f"{score.width:.1%}",
        _figure(score.noise_floor_percent, ".2f"),
        *(_figure(value, ".1f") for value in baselines),
    ]


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _plots(judged: Judged) -> str:
    unit = judged.metric.unit
    errors = np.maximum(judged.error_percent, 1e-3)
    plots = [
        scatter(
            judged.truth, judged.value, x_label=f"true, {unit}", y_label=f"predicted, {unit}", diagonal=True
        ),
        scatter(
            np.maximum(judged.operators.astype(np.float64), 1.0),
            errors,
            x_label="operators",
            y_label="error, %",
            diagonal=False,
        ),
        _by_family(judged),
    ]
    name = f"{judged.device}, {Metric(judged.metric).value}"
    return f'<h3>{html.escape(name)}</h3><div class="plots">{"".join(plots)}</div>'


def _by_family(judged: Judged) -> str:
    """Return the errors of the families with most networks, the worst first."""
    groups: dict[str, list[float]] = {}
    for space, family, error in zip(
        judged.spaces, judged.families, judged.error_percent.tolist(), strict=True
    ):
        groups.setdefault(f"{family}, {space}" if family else space, []).append(error)
    largest = sorted(groups, key=lambda name: -len(groups[name]))[:MOST_FAMILIES]
    ordered = sorted(largest, key=lambda name: -float(np.median(groups[name])))
    return bars(
        [f"{name} ({len(groups[name])})" for name in ordered],
        [float(np.median(groups[name])) for name in ordered],
        [float(np.quantile(groups[name], 0.9)) for name in ordered],
        label="error by family, %: median, and nine in ten",
    )
