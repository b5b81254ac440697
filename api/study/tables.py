"""A study's tables as CSV and Parquet."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.study.report import Findings


def write_tables(found: Findings, folder: Path) -> list[Path]:
    """Write values, bottlenecks and proxies, each as .csv and .parquet; return the paths."""
    import pandas as pd

    tables = {"values": _values(found), "bottlenecks": _bottlenecks(found), "proxies": _proxies(found)}
    paths = []
    for name, rows in tables.items():
        if not rows:
            continue
        frame = pd.DataFrame(rows)
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
        }
        for row in found.study.rows
    ]


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
