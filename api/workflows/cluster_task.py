"""What runs on a worker of a cluster: build networks from their seeds, measure them, answer JSON.

A worker is trusted by its scheduler and the other way round, but its tools are not: they run in processes
of their own here as everywhere. Workers keep them between tasks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from api.workflows.building import Key, NotBuilt, SampledModel, build_networks
from api.workflows.lanes import Measured
from api.workflows.wire import device_to_plain, result_to_plain
from perfsage.errors import DeviceError
from profilers.profiler import Plan, Profiler
from profilers.registry import describe, open_profiler
from profilers.workers import WorkerPool


class _Tools(threading.local):
    """One worker process and the profilers that use it, for each thread of the dask worker."""

    def __init__(self) -> None:
        self.pool = WorkerPool(1, name="cluster")
        self.profilers: dict[str, Profiler] = {}

    def profiler(self, device: str) -> Profiler:
        """Return the profiler of a device, opened at the first use."""
        if device not in self.profilers:
            self.profilers[device] = open_profiler(device, pool=self.pool)
        return self.profilers[device]


_tools = _Tools()


def describe_devices(devices: Sequence[str]) -> str:
    """Return the devices as this worker has them, as JSON."""
    return json.dumps([device_to_plain(describe(device)) for device in devices])


def measure_networks(keys: Sequence[Key], devices: Sequence[str], plan: Plan) -> str:
    """Measure each network on each device; return JSON with an entry for each network.

    A device that is gone ends its part: its reason stands under `errors`, and it gives no results.
    """
    built = list(build_networks(_tools.pool, [(space, seed, dtype) for space, seed, dtype in keys]))
    models = [one for one in built if isinstance(one, SampledModel)]
    results: dict[Key, list[dict[str, Any]]] = {one.key: [] for one in models}
    errors: dict[str, str] = {}
    for device in devices:
        try:
            outcomes = _tools.profiler(device).profile([one.model for one in models], plan)
            for one, outcome in zip(models, outcomes, strict=True):
                result = Measured(device, one.record, outcome.measurements, outcome.failure)
                results[one.key].append(result_to_plain(result))
        except DeviceError as error:
            errors[device] = str(error)
    return json.dumps({"networks": [_entry(one, results) for one in built], "errors": errors})


def _entry(one: SampledModel | NotBuilt, results: dict[Key, list[dict[str, Any]]]) -> dict[str, Any]:
    from dataclasses import asdict

    if isinstance(one, NotBuilt):
        return {"key": list(one.key), "not_built": one.reason}
    return {"key": list(one.key), "network": asdict(one.record), "results": results[one.key]}
