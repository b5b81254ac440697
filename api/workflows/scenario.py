"""What using a measured model costs: so many inferences a second for so many minutes, and its carbon."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.workflows.labels import stored_devices
from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric
from profilers.power.carbon import GridIntensity, carbon_mg
from profilers.power.scenario import ScenarioEnergy, scenario_energy

if TYPE_CHECKING:
    import pandas as pd

    from dataset.store import Store
    from perfsage.device import Device

NO_ENERGY = "its energy is not known"
NO_LATENCY = "its latency is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How a model is used, and what its energy is compared with."""

    inferences_per_s: float
    minutes: float
    battery_wh: float | None = None
    grid: GridIntensity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one network costs, or why that is not known; energies in millijoules, carbon in milligrams."""

    network: str
    model_id: str
    mode: str
    net_mj_per_inference: float | None = None
    latency_ms: float | None = None
    energy: ScenarioEnergy | None = None
    carbon_mg: float | None = None
    reason: str | None = None


def scenario_costs(store: Store, device: str, usage: Usage) -> list[Cost]:
    """Return the cost of every network that was measured on a device, by its latest figures.

    UnknownNameError for a device that the dataset does not have; InvalidInputError for one without energies.
    """
    [measured] = stored_devices(store, [device])
    if Metric.ENERGY_MJ not in measured.metrics:
        reason = measured.unavailable.get(Metric.ENERGY_MJ, "it has none")
        raise InvalidInputError(f"no energy was measured on {device}: {reason}", where=store.url)
    energies = _latest(store, measured, Metric.ENERGY_MJ)
    latencies = _latest(store, measured, Metric.LATENCY_MS)
    return [_cost(row, latencies.get(number), usage) for number, row in energies.items()]


def _latest(store: Store, device: Device, metric: Metric) -> dict[int, Any]:
    """Return the newest headline figure of each network, by the network's number."""
    if metric not in device.metrics:
        return {}
    frame: pd.DataFrame = store.frame(device=device.name, metric=metric.value)
    frame = frame[frame["definition"] == device.metrics[metric]].sort_values("measured_at", kind="stable")
    return {int(row.network): row for row in frame.itertuples(index=False)}


def _cost(energy: Any, latency: Any | None, usage: Usage) -> Cost:
    known: dict[str, Any] = {"network": _name(energy), "model_id": energy.model_id, "mode": energy.mode}
    if math.isnan(energy.value):  # the dataset keeps the reason beside it
        return Cost(**known, reason=f"{NO_ENERGY}: {energy.unavailable}")
    known_mj = known | {"net_mj_per_inference": float(energy.value)}
    if latency is None or math.isnan(latency.value):
        return Cost(**known_mj, reason=NO_LATENCY)
    known_mj["latency_ms"] = float(latency.value)
    try:
        found = scenario_energy(
            net_mj_per_inference=known_mj["net_mj_per_inference"],
            latency_ms=known_mj["latency_ms"],
            idle_power_w=_conditions(energy).get("idle_power_w"),
            inferences_per_s=usage.inferences_per_s,
            minutes=usage.minutes,
            battery_wh=usage.battery_wh,
        )
    except InvalidInputError as error:
        return Cost(**known_mj, reason=f"{error.what}. {error.hint or ''}".strip())
    carbon = None if usage.grid is None else carbon_mg(found.spent_mj, usage.grid)
    return Cost(**known_mj, energy=found, carbon_mg=carbon)


def _name(row: Any) -> str:
    """Return a file's name, or what a sampled network is built from."""
    is_sampled = isinstance(row.space, str)
    return f"{row.space} {row.seed} {row.dtype}" if is_sampled else str(row.family or row.model_id[:12])


def _conditions(row: Any) -> dict[str, Any]:
    found = row.conditions
    return dict(json.loads(found) if isinstance(found, str) else found or {})
