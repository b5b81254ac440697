"""The data card: what a dataset holds, in words that a reader can check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dataset.connect import reading
from dataset.extras import sa
from dataset.schema import devices
from dataset.store import Store

if TYPE_CHECKING:
    import pandas as pd

CARD = "README.md"
_MOST_REASONS = 40


def data_card(
    store: Store, *, title: str = "Dataset card", description: str = "", licence: str | None = None
) -> str:
    """Return a Markdown page: counts, ranges, noise floors, origins and licences, failures by reason.

    `description` says what the dataset is for and how it was made. `licence` is that of measurements which no
    public source states one for: the user's own.
    """
    stats, nets = store.stats(), store.networks()
    lines = [
        f"# {title}",
        *(["", description.strip()] if description.strip() else []),
        "",
        f"{stats.networks:,} networks with {stats.structures:,} distinct structures, "
        f"{stats.measurements:,} measurements ({stats.unavailable:,} of them unavailable, with a reason) "
        f"and {stats.operator_rows:,} sets of per-operator measurements.",
        "",
        "Networks of a search space are numbered by seed and can be built again, bit for bit, from space, "
        "seed and dtype; their weights are random and shaped like trained ones.",
        *_section("Networks", _network_table(nets)),
        *_section("Devices, their origin and licence", _device_table(store, licence)),
        *_section("Measured values", _value_table(store)),
        "",
        "Noise is the median over networks of 1.4826 MAD / median of a measurement's samples; simulated and "
        "planned values have none.",
        *_section("Failures", _failure_table(stats.failures)),
    ]
    return "\n".join(lines) + "\n"


def write_card(
    store: Store,
    folder: str | Path,
    *,
    title: str = "Dataset card",
    description: str = "",
    licence: str | None = None,
) -> None:
    """Write the card into a folder that an export made."""
    card = data_card(store, title=title, description=description, licence=licence)
    (Path(folder) / CARD).write_text(card, encoding="utf-8")


def _section(heading: str, table: Iterator[str]) -> list[str]:
    rows = list(table)
    return ["", f"## {heading}", "", *(rows if len(rows) > 2 else ["None."])]


def _table(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def _cells(*values: object) -> str:
    return f"| {' | '.join(_plain(value) for value in values)} |"


def _plain(value: object) -> str:
    """Return one line of text that does not break a Markdown table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _network_table(nets: pd.DataFrame) -> Iterator[str]:
    yield from _table("space", "dtype", "networks", "operators", "MMAC (median, range)", "file kB (median)")
    keys = [nets["space"].astype("object").fillna("(files)"), nets["dtype"].astype("object")]
    for (space, dtype), group in nets.groupby(keys):
        mmac = group["macs"].dropna().astype("float64") / 1e6
        extent = f"{mmac.median():.3g} ({mmac.min():.3g} to {mmac.max():.3g})" if len(mmac) else "unknown"
        span = f"{group['operators'].min()} to {group['operators'].max()}"
        yield _cells(space, dtype, len(group), span, extent, float(group["file_bytes"].median()) / 1e3)


def _device_table(store: Store, own_licence: str | None) -> Iterator[str]:
    yield from _table("device", "kind", "tool", "source", "licence")
    c = devices.c
    query = sa.select(c.name, c.kind, c.tool, c.tool_version, c.source, c.licence).order_by(c.name)
    with reading(store.engine) as connection:
        for name, kind, tool, version, source, stated in connection.execute(query):
            licence = stated or own_licence or "not stated"
            yield _cells(name, kind, f"{tool} {version}", source or "this project", licence)


def _value_table(store: Store) -> Iterator[str]:
    yield from _table(
        "device", "metric", "definition", "statistic", "mode", "values", "median", "range", "noise"
    )
    keys = ["metric", "definition", "statistic", "mode"]
    for device in store.devices():
        labels = store.frame(device=device.name)
        for key, group in labels[labels["value"].notna()].groupby(keys, observed=True):
            values, noise = group["value"], group["noise"].dropna()
            floor = f"{noise.median():.2%}" if len(noise) else "-"
            span = f"{values.min():.4g} to {values.max():.4g}"
            yield _cells(device.name, *key, len(values), float(values.median()), span, floor)


def _failure_table(failures: Mapping[tuple[str, str], int]) -> Iterator[str]:
    yield from _table("device", "reason", "measurements")
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    for (device, reason), count in ordered[:_MOST_REASONS]:
        yield _cells(device, reason, count)
    if rest := sum(count for _, count in ordered[_MOST_REASONS:]):
        yield _cells("", f"{len(ordered) - _MOST_REASONS} other reasons", rest)
