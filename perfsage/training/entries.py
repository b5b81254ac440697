"""What the labels say about each device: how many there are, what is exact, and whether floats can run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfsage.device import Device
from perfsage.metrics import Metric
from perfsage.models.manifest import DeviceEntry
from perfsage.models.physics import memory_candidates
from perfsage.training.examples import Example

MOSTLY_FLOAT = 0.999
EXACT_METRICS = (Metric.PEAK_MEMORY_BYTES, Metric.STORAGE_BYTES)
FEWEST_FOR_EXACT = 10


def describe_entries(devices: Sequence[Device], examples: Sequence[Example]) -> tuple[DeviceEntry, ...]:
    """Return the manifest's entries, from the examples that the devices are trained on."""
    return tuple(_entry(device, devices, examples) for device in devices)


def labelled_devices(devices: Sequence[Device], examples: Sequence[Example]) -> frozenset[str]:
    """Return the names of the devices that have any label."""
    return frozenset(name for example in examples for name, _ in example.labels) & {d.name for d in devices}


def _entry(device: Device, devices: Sequence[Device], examples: Sequence[Example]) -> DeviceEntry:
    labelled = labelled_devices(devices, examples)
    relatives = [d for d in devices if d.name in labelled and d.kind == device.kind and d.descriptors]
    inferred = device.name not in labelled and bool(device.descriptors) and bool(relatives)
    return DeviceEntry(
        device=device,
        labels={
            metric: sum((device.name, metric) in example.labels for example in examples)
            for metric in device.metrics
        },
        exact={metric: column for metric in EXACT_METRICS if (column := _exact(device, metric, examples))},
        float_reason=_float_reason(relatives[0] if inferred else device, examples),
        inferred=inferred,
    )


def _exact(device: Device, metric: Metric, examples: Sequence[Example]) -> str | None:
    """Return the graph total that equals every label wherever it is known, if it mostly is."""
    target = (device.name, metric)
    known = [example for example in examples if target in example.labels]
    if len(known) < FEWEST_FOR_EXACT:
        return None
    labels = np.array([example.labels[target] for example in known])
    candidates = memory_candidates(np.stack([example.features.totals for example in known]))
    for name, values in candidates.items():
        given = values > 0
        if 2 * given.sum() > len(labels) and np.array_equal(values[given], labels[given]):
            return name
    return None


def _float_reason(device: Device, examples: Sequence[Example]) -> str | None:
    """Return why float networks cannot run, where none ever gave a latency; else None.

    An NPU that was only ever measured on integer networks is taken to need them.
    """
    target = (device.name, Metric.LATENCY_MS)
    floats = [example for example in examples if example.features.total("float_share") >= MOSTLY_FLOAT]
    if any(target in example.labels for example in floats):
        return None
    refused = sum(target in example.unavailable for example in floats)
    if refused:
        return (
            f"{device.name} cannot run float operators: it refused all {refused} float networks in training"
        )
    if device.kind == "npu" and any(target in example.labels for example in examples):
        return f"{device.name} was only measured on integer networks, and NPUs of its kind need them"
    return None
