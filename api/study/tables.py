"""A study's tables as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsage.metrics import Metric
from profilers.power.carbon import carbon_mg

if TYPE_CHECKING:
    import pandas as pd

    from api.study.report import Findings
    from api.study.rows import Row
    from dataset.store import Store


def write_tables(found: Findings, store: Store, folder: Path) -> list[Path]:
    """Write values, bottlenecks and proxies, and what apps carry, as .csv and .parquet; return the paths."""
    import pandas as pd

    tables = {"values": _values(found), "bottlenecks": _bottlenecks(found), "proxies": _proxies(found)}
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return write_frames(frames | app_frames(store), folder)


def app_frames(store: Store) -> dict[str, pd.DataFrame]:
    """Return the models and libraries of scanned apps, one row a place."""
    from dataset.apps.listing import models_frame, sdks_frame

    return {"app_models": models_frame(store), "app_libraries": sdks_frame(store)}


def write_frames(frames: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table that has rows as .csv and .parquet; return the paths."""
    paths = []
    for name, frame in frames.items():
        if len(frame):
            csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
            frame.to_csv(csv, index=False)
            frame.to_parquet(parquet, index=False)
            paths += [csv, parquet]
    return paths


def _values(found: Findings) -> list[dict[str, Any]]:
    names = ("network", "family", "dtype", "batch", "threads", "delegate", "device", "kind")
    return [
        {
            **{name: getattr(row, name) for name in names},
            "metric": row.metric.value,
            "unit": row.metric.unit,
            "value": row.value,
            "mode": row.mode.value,
            "unavailable": row.unavailable,
            "low": row.low,
            "high": row.high,
            "noise": row.noise,
            "macs": row.macs,
            **_carbon(found, row),
        }
        for row in found.study.rows
    ]


def _carbon(found: Findings, row: Row) -> dict[str, Any]:
    """Return milligrams of greenhouse gas of an energy, where the report was asked for them."""
    if found.grid is None:
        return {}
    energy = row.value if row.metric is Metric.ENERGY_MJ else None
    return {
        "co2e_mg": None if energy is None else carbon_mg(energy, found.grid),
        "grid_g_per_kwh": found.grid.g_per_kwh,
        "grid_source": found.grid.source,
    }


def _bottlenecks(found: Findings) -> list[dict[str, Any]]:
    return [
        {
            "network": bound.row.network,
            "dtype": bound.row.dtype,
            "device": bound.row.device,
            "bottleneck": bound.bottleneck,
            "compute_share": bound.compute,
            "memory_share": bound.memory,
            "overhead_share": bound.overhead,
            "macs_per_byte": bound.intensity,
            "macs_per_s": bound.macs_per_s,
            "roof_macs_per_s": bound.roof.macs_per_s,
            "roof_bytes_per_s": bound.roof.bytes_per_s,
            "roof_stated": bound.roof.stated,
            "fallback_operators": bound.fallback_operators,
            "operators": bound.operators,
        }
        for bound in found.bounds
    ]


def _proxies(found: Findings) -> list[dict[str, Any]]:
    return [asdict(proxy) for proxy in found.proxies]
