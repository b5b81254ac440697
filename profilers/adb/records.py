"""Turns what the benchmark and the monitor gave into measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from perfsage.errors import PerfsageError, TransientDeviceError
from perfsage.measurement import OperatorRef, Statistic
from perfsage.metrics import Metric
from profilers.adb.benchmark_log import BenchmarkReport
from profilers.adb.energy_run import EnergyResult
from profilers.adb.operator_profile import OperatorTime
from profilers.adb.session import Session
from profilers.adb.settings import RunnerSettings
from profilers.adb.visit import Visit
from profilers.outcomes import Recorder
from profilers.power.energy import EnergyRefusalError
from profilers.profiler import Plan

_MB = 1 << 20
_LATENCIES = {
    "inference_mean": ("mean_ms", Statistic.MIN),
    "inference_min": ("min_ms", Statistic.MIN),
    "inference_median": ("median_ms", Statistic.MIN),
    "inference_p95": ("p95_ms", Statistic.MIN),
    "inference_std": ("std_ms", Statistic.MEDIAN),
    "first_inference": ("first_ms", Statistic.MEDIAN),
    "initialization": ("init_ms", Statistic.MEDIAN),
}
_MEMORY = {
    "rss_growth": "overall_footprint_mb",
    "rss_growth_at_load": "init_footprint_mb",
    "peak_rss": "peak_rss_mb",
}


def record_visits(
    recorder: Recorder, visits: Sequence[Visit], session: Session, runner: RunnerSettings, plan: Plan
) -> None:
    """Record latencies, memory and storage, with the conditions that held.

    A definition such as `inference_mean` names the benchmark's own statistic within one process; samples
    are its values of each visit, and the value is their minimum (or median, for what happens once).
    """
    recorder.conditions = _conditions(visits, session, runner, plan)
    for definition, (field, statistic) in _LATENCIES.items():
        samples = _figures(visits, field)
        if samples:
            recorder.add(
                Metric.LATENCY_MS,
                _of(samples, statistic),
                definition=definition,
                statistic=statistic,
                samples=samples,
            )
    for definition, field in _MEMORY.items():
        samples = [value * _MB for value in _figures(visits, field) if value > 0]
        if samples:
            recorder.add(
                Metric.PEAK_MEMORY_BYTES,
                max(samples),
                definition=definition,
                statistic=Statistic.PEAK,
                samples=samples,
            )
        elif definition == "rss_growth":
            recorder.unavailable(
                Metric.PEAK_MEMORY_BYTES,
                "the tool's own start-up needed more memory than the model, or it does not say",
            )
    recorder.add(Metric.STORAGE_BYTES, float(len(recorder.model.data)))


def _figures(visits: Sequence[Visit], field: str) -> list[float]:
    return [value for visit in visits if (value := getattr(visit.report, field)) is not None]


def _of(samples: Sequence[float], statistic: Statistic) -> float:
    return min(samples) if statistic is Statistic.MIN else sorted(samples)[len(samples) // 2]


def _conditions(
    visits: Sequence[Visit], session: Session, runner: RunnerSettings, plan: Plan
) -> dict[str, str | int | float | bool]:
    last: BenchmarkReport = visits[-1].report
    worst = [visit.worst_status for visit in visits if visit.worst_status is not None]
    found: dict[str, str | int | float | bool] = {
        "threads": plan.threads,
        "delegate": runner.delegate or "as_built",
        "visits": len(visits),
        "runs": sum(visit.report.runs or 0 for visit in visits),
        "warmup_runs": runner.warmup_runs,
        "output_format": last.format,
        "runner": session.runner.digest,
        "throttled": any(visit.throttled for visit in visits),
        "left_over_processes_ended": session.left_over,
    }
    if runner.cpu_mask:
        found["cpu_mask"] = runner.cpu_mask
    if worst:
        found["thermal_status_worst"] = max(worst)
    found |= _delegated(last, runner.delegate)
    return (
        session.properties.conditions()
        | session.controls
        | visits[0].before.surroundings()
        | visits[0].before.conditions("before")
        | visits[-1].after.conditions("after")
        | found
    )


def _delegated(last: BenchmarkReport, asked: str) -> dict[str, str | int | float | bool]:
    """Return what is known of the part of the graph that delegates really took."""
    found: dict[str, str | int | float | bool] = {}
    for delegation in last.delegations:
        found[f"delegated_{delegation.name.lower()}"] = delegation.coverage
        if delegation.kernels is not None:
            found[f"delegate_kernels_{delegation.name.lower()}"] = delegation.kernels
    for replaced in last.replaced:
        found[f"delegate_nodes_{replaced.name.lower()}"] = replaced.nodes
        if replaced.total is not None:
            found[f"delegate_nodes_{replaced.name.lower()}_of"] = replaced.total
    if asked not in ("", "no-xnnpack") and not found:
        found["delegated"] = "not_reported"
    return found


def record_operators(recorder: Recorder, times: Sequence[OperatorTime]) -> list[str]:
    """Record each node that is an operator of the model; return notes on the ones that are not.

    A delegate's node stands for several operators: its time belongs to none of them alone.
    """
    known = {(o.subgraph, o.index): o.type for o in recorder.model.graph.operators}
    notes = []
    for entry in times:
        place = (entry.subgraph, entry.node if entry.node is not None else -1)
        if known.get(place) == entry.type:
            recorder.add(
                Metric.LATENCY_MS,
                entry.mean_ms,
                definition="operator_mean",
                statistic=Statistic.MEAN,
                operator=OperatorRef(*place),
            )
        else:
            notes.append(
                f"node {entry.node} {entry.type} took {entry.mean_ms:.4g} ms for the operators it replaced"
            )
    return notes


def record_energy(recorder: Recorder, measure: Callable[[], EnergyResult]) -> None:
    """Record net and gross energy per inference, or why they cannot be trusted.

    TransientDeviceError is passed on: a phone or an instrument that went away is tried again.
    """
    try:
        result = measure()
    except TransientDeviceError:
        raise
    except EnergyRefusalError as error:
        recorder.unavailable(Metric.ENERGY_MJ, f"{error.reason}: {error.what}")
        return
    except PerfsageError as error:
        recorder.unavailable(Metric.ENERGY_MJ, error.what)
        return
    energy = result.energy
    gross_mj, net_mj, uncertainty_mj = energy.per_inference(result.inferences)
    conditions: dict[str, str | int | float | bool] = {
        "energy_source": energy.source,
        "energy_window_s": energy.duration_s,
        "energy_samples": energy.samples,
        "energy_sample_rate_hz": energy.sample_rate_hz,
        "energy_refresh_s": energy.refresh_s,
        "energy_uncertainty_mj": uncertainty_mj,
        "energy_inferences": result.inferences,
        "energy_flags": ",".join(sorted(energy.flags)),
        "usb_power_cut": result.usb_power_cut,
        "throttled": result.visit.throttled,
    }
    if energy.idle_power_w is not None and math.isfinite(energy.idle_power_w):
        conditions["idle_power_w"] = energy.idle_power_w
    if net_mj is not None and net_mj >= 0:
        recorder.add(
            Metric.ENERGY_MJ,
            net_mj,
            definition="net_of_idle",
            statistic=Statistic.MEAN,
            conditions=conditions,
        )
    else:
        recorder.unavailable(
            Metric.ENERGY_MJ, f"the work drowned in the idle power: net {net_mj} +- {uncertainty_mj:.3g} mJ"
        )
    recorder.add(
        Metric.ENERGY_MJ, gross_mj, definition="gross", statistic=Statistic.MEAN, conditions=conditions
    )
