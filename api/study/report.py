"""The report of a study: one HTML file that needs nothing else, and its tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.study import figures
from api.study.device_figures import generation_figure, tier_figure
from api.study.figures import Figure, short_names
from api.study.page import page, table
from api.study.roofline import Bound, OperatorRate, Work, bounds, operator_rates, read_work
from api.study.rows import Row, StudyRows, read_rows
from api.study.spec import Spec
from api.study.statistics import Outlier, Proxy, proxies
from api.study.tables import write_tables
from api.words import SCHEMA_VERSION
from perfsage.measurement import Mode
from perfsage.metrics import Metric
from profilers.power.carbon import GridIntensity, carbon_mg

if TYPE_CHECKING:
    from dataset.store import Store


_MOST_LETTERS = 200
"""Of a reason in the page; the tables have all of it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_report` wrote."""

    networks: int
    devices: int
    cells: int
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "networks": self.networks,
            "devices": self.devices,
            "cells": self.cells,
            "files": [str(path) for path in self.files],
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that figures and tables are made of."""

    study: StudyRows
    work: dict[int, Work]
    bounds: list[Bound]
    rates: list[OperatorRate]
    proxies: list[Proxy]
    outliers: list[Outlier]
    grid: GridIntensity | None = None


def find(spec: Spec, store: Store, grid: GridIntensity | None = None) -> Findings:
    """Read a study and compute what the report says of it; InvalidInputError where it was not run.

    With `grid`, energies are told as greenhouse gas, too.
    """
    study = read_rows(spec, store)
    work = read_work(study, store)
    rates = operator_rates(study, store, work)
    fits, outliers = proxies(study)
    return Findings(study, work, bounds(study, work), rates, fits, outliers, grid)


def write_report(spec: Spec, store: Store, folder: Path, grid: GridIntensity | None = None) -> Written:
    """Write report.html and the tables into `folder`."""
    found = find(spec, store, grid)
    folder.mkdir(parents=True, exist_ok=True)
    html = folder / "report.html"
    html.write_text(render(found, store), encoding="utf-8")
    files = (html, *write_tables(found, store, folder))
    study = found.study
    cells = len({(r.label, r.device, r.batch, r.threads, r.delegate) for r in study.rows})
    return Written(len(study.networks), len(study.devices), cells, files)


def render(found: Findings, store: Store) -> str:
    """Return the report as one HTML document without external references."""
    sections = {
        "Cost of each network": list(_overviews(found)),
        "Efficiency": list(_frontiers(found)),
        "Bottlenecks": list(_bottlenecks(found)),
        "Scaling": _present([figures.scaling(found.study, by) for by in ("threads", "batch")]),
        "Devices": _present(
            [
                draw(found.study, dtype)
                for dtype in _dtypes(found)
                for draw in (tier_figure, generation_figure)
            ]
        ),
        "MACs as a proxy": _present(
            [figures.proxy_figure(found.study, found.proxies, dtype) for dtype in _dtypes(found)]
        ),
        "Spread": _present([figures.spread(found.study, found.outliers)]),
        "What apps carry": _population(store),
    }
    return page(found.study.spec.name, _summary(found), sections, _tables(found))


def _present(made: Sequence[Figure | None]) -> list[Figure]:
    return [figure for figure in made if figure is not None]


def _dtypes(found: Findings) -> list[str]:
    present = {row.dtype for row in found.study.rows}
    return [dtype for dtype in ("int8", "float32") if dtype in present] + sorted(
        present - {"int8", "float32"}
    )


def _overviews(found: Findings) -> Iterator[Figure]:
    for metric in Metric:
        for dtype in _dtypes(found):
            yield from _present([figures.overview(found.study, metric, dtype)])


def _frontiers(found: Findings) -> Iterator[Figure]:
    for metric in (Metric.LATENCY_MS, Metric.ENERGY_MJ, Metric.PEAK_MEMORY_BYTES):
        for dtype in _dtypes(found):
            yield from _present([figures.accuracy_frontier(found.study, metric, dtype)])


def _bottlenecks(found: Findings) -> Iterator[Figure]:
    for dtype in _dtypes(found):
        yield from _present([figures.bottlenecks(found.study, found.bounds, dtype)])
        yield from figures.rooflines(found.bounds, found.rates, dtype)


def _population(store: Store) -> list[Figure]:
    from api.study.population import population_figures

    return population_figures(store)


def _summary(found: Findings) -> str:
    study = found.study
    modes = Counter(row.mode for row in study.rows if row.value is not None)
    missing = sum(row.value is None for row in study.rows)
    counts = ", ".join(f"{modes[mode]:,} {mode.value}" for mode in Mode if modes[mode])
    text = (
        f"{len(study.networks)} networks on {len(study.devices)} devices: {counts} values; {missing:,} "
        "could not be had, each with its reason in the tables."
    )
    rows = [
        [
            escape(d.name),
            escape(d.kind),
            escape(d.description),
            _modes(study, d.name),
            escape(d.source or d.tool),
        ]
        for d in study.devices
    ]
    return f"<p>{escape(text)}</p>" + table(
        ("device", "kind", "description", "values", "tool or source"), rows
    )


def _modes(study: StudyRows, device: str) -> str:
    return ", ".join(dict.fromkeys(row.mode.value for row in study.rows if row.device == device))


def _tables(found: Findings) -> str:
    names = short_names(found.study)
    fits = [
        [_device(names, p.device), p.dtype, str(p.networks), f"{p.spearman:.3f}", f"{p.exponent:.2f}",
         f"{p.mean_error_percent:.0f} %", f"{p.wrong_pairs_percent:.1f} %",
         f"{escape(p.worst_network)} ({p.worst_ratio:.2g}x)"]
        for p in found.proxies
    ]  # fmt: skip
    held = [
        [escape(b.row.label), _device(names, b.row.device), b.bottleneck, f"{b.compute:.0%}",
         f"{b.memory:.0%}", f"{b.overhead:.0%}", f"{b.fallback_operators} of {b.operators}"]
        for b in found.bounds
    ]  # fmt: skip
    fit = (
        "device", "type", "networks", "rank correlation", "exponent", "mean error", "pairs in wrong order",
        "worst",
    )  # fmt: skip
    bound = ("network", "device", "bottleneck", "compute", "memory", "overhead", "operators that fall back")
    return (
        "<h2>Tables</h2><h3>Latency from MACs</h3>"
        + table(fit, fits)
        + "<h3>Bottleneck of every network</h3>"
        + f"<details><summary>{len(held)} rows</summary>{table(bound, held)}</details>"
        + _carbon(found, names)
        + _unavailable(found, names)
    )


def _carbon(found: Findings, names: Mapping[str, str]) -> str:
    """Return the greenhouse gas of a million inferences, where a grid's intensity was given."""
    if found.grid is None:
        return ""
    rows = [
        [escape(row.label), _device(names, row.device), row.mode.value,
         f"{carbon_mg(row.value, found.grid) * 1e3:.3g} g"]
        for row in found.study.rows
        if row.metric is Metric.ENERGY_MJ and row.value is not None
    ]  # fmt: skip
    stated = f"{found.grid.g_per_kwh:g} g CO2e per kWh: {found.grid.source}"
    head = ("network", "device", "energy is", "CO2e of a million inferences")
    return f"<h3>Carbon</h3><p>At {escape(stated)}</p>" + table(head, rows)


def _device(names: Mapping[str, str], device: str) -> str:
    return f'<span title="{escape(device)}">{escape(names[device])}</span>'


def _unavailable(found: Findings, names: Mapping[str, str]) -> str:
    """Return what could not be had by kind of reason, which is its text up to a colon."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found.study.rows:
        if row.value is None:
            groups[(row.unavailable or "").partition(":")[0]].append(row)
    rows = [
        [
            escape(_shortened(Counter(row.unavailable or "" for row in group).most_common(1)[0][0])),
            ", ".join(_device(names, name) for name in dict.fromkeys(row.device for row in group)),
            ", ".join(dict.fromkeys(row.metric.value for row in group)),
            "; ".join(dict.fromkeys(row.dtype for row in group)),
            str(len({row.network for row in group})),
            f"{len(group):,}",
        ]
        for group in sorted(groups.values(), key=len, reverse=True)
    ]
    if not rows:
        return ""
    head = ("reason (the most frequent of its kind)", "devices", "metrics", "types", "networks", "values")
    return "<h3>What could not be had</h3>" + table(head, rows)


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _MOST_LETTERS else f"{reason[:_MOST_LETTERS].rstrip()}…"
