"""A network made ready for its data: scales of the features, physical rates and descriptors of devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from perfsage.device import Device
from perfsage.features.npu.geometry import geometry_of
from perfsage.models.gnn import GraphNetwork, NetworkOptions
from perfsage.models.physics import (
    FITTED_LIVE,
    KEPT_BYTES,
    TERMS,
    concurrent_terms,
    energy_columns,
    fit_costs,
    fit_memory,
    fit_rates,
    memory_limit_bytes,
    memory_rates,
    storage_rates,
    unit_rates,
)
from perfsage.training.corpus import Corpus
from perfsage.training.options import TrainingOptions

ADDITIVE = (0, 1, 3)
"""Positions in METRIC_ORDER of the metrics that are sums over operators: latency, energy, storage."""


def build_network(corpus: Corpus, devices: Sequence[Device], options: TrainingOptions) -> GraphNetwork:
    """Return an untrained network whose first guess is already the fitted roofline."""
    names = descriptor_names(devices)
    network = GraphNetwork(
        NetworkOptions(
            node_columns=corpus.flat.node.shape[1],
            descriptor_columns=len(names),
            devices=len(devices),
            width=options.width,
            described_width=options.described_width,
            layers=options.layers,
        )
    )
    deviation = corpus.flat.node.std(axis=0)
    with torch.no_grad():
        network.trunk.mean.copy_(torch.from_numpy(corpus.flat.node.mean(axis=0)))
        network.trunk.deviation.copy_(torch.from_numpy(np.where(deviation > 1e-3, deviation, 1.0)))
        network.devices.descriptors.copy_(torch.from_numpy(descriptor_matrix(devices, names)))
        network.devices.log_rates.copy_(torch.from_numpy(_log_rates(corpus, devices)))
        concurrent = [concurrent_terms(device.descriptors) for device in devices]
        network.devices.concurrent.copy_(torch.tensor(concurrent))
        network.devices.seen.copy_(torch.from_numpy(_seen(devices, network.options.widths)))
        limits = [memory_limit_bytes(device.descriptors) for device in devices]
        network.devices.log_limits.copy_(torch.tensor(limits).log())
    return network


def _seen(devices: Sequence[Device], widths: tuple[int, int]) -> NDArray[np.float32]:
    """Return the embeddings that each device looks at, float32[devices, w]: one trunk's or the other's."""
    described = np.array([geometry_of(device.descriptors) is not None for device in devices])
    return np.repeat(np.stack([described, ~described], axis=1), widths, axis=1).astype(np.float32)


def descriptor_names(devices: Sequence[Device]) -> tuple[str, ...]:
    """Return the union of the devices' descriptor names, sorted."""
    return tuple(sorted({name for device in devices for name in device.descriptors}))


def descriptor_matrix(devices: Sequence[Device], names: Sequence[str]) -> NDArray[np.float32]:
    """Return float32[devices, names]: logarithms, standardised over the devices that give each one.

    A device without any descriptor has a row of zeros.
    """
    raw = np.array([[device.descriptors.get(name, np.nan) for name in names] for device in devices])
    raw = np.log1p(raw.reshape(len(devices), len(names)))
    if raw.size == 0:
        return np.zeros(raw.shape, dtype=np.float32)
    given = np.isfinite(raw)
    count = np.maximum(given.sum(axis=0), 1)
    mean = np.where(given, raw, 0.0).sum(axis=0) / count
    centred = np.where(given, raw - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    scaled = centred / np.where(deviation > 1e-6, deviation, 1.0)
    # A lone described device would equal an undescribed one; the offset keeps them apart.
    return np.where(given, scaled + 0.1, 0.0).astype(np.float32)


def _log_rates(corpus: Corpus, devices: Sequence[Device]) -> NDArray[np.float32]:
    """Return float32[devices, 4, terms] of a latency, an energy, a storage and a memory: what is described.

    All other rates are fitted, per device or jointly for those that are described.
    """
    totals = corpus.term_totals()
    rates = np.full((len(devices), len(ADDITIVE) + 1, len(TERMS)), np.nan)
    labels = np.exp(corpus.log_labels.astype(np.float64))
    rates[:, len(ADDITIVE)] = _memory_rates(corpus, totals, labels[:, :, 2], devices)
    units = [unit_rates(device.descriptors) for device in devices]
    stored = [storage_rates(device.descriptors) for device in devices]
    known = (units, _energy_rates(totals, labels, devices), stored)
    described = [i for i, unit in enumerate(units) if unit is not None]
    for row, (metric, given) in enumerate(zip(ADDITIVE, known, strict=True)):
        values = labels[:, :, metric]
        groups = [[i] for i, unit in enumerate(units) if unit is None]
        groups.append([i for i in described if given[i] is None])
        for group in groups:
            masks = {i: np.isfinite(values[:, i]) for i in group}
            if any(mask.any() for mask in masks.values()):
                here = np.concatenate([totals[mask] for mask in masks.values()])
                there = np.concatenate([values[mask, i] for i, mask in masks.items()])
                rates[group, row] = fit_rates(here, there, stored=metric == 3)
        for i, found in enumerate(given):
            if found is not None:
                rates[i, row] = found
    return np.log(np.where(np.nan_to_num(rates) > 0, rates, 1e-30)).astype(np.float32)


def _memory_rates(
    corpus: Corpus, totals: NDArray[np.float64], labels: NDArray[np.float64], devices: Sequence[Device]
) -> NDArray[np.float64]:
    """Return the bytes of memory per unit of each term, float64[devices, terms].

    They are fitted where nothing is described; `labels` float64[graphs, devices] are in bytes.
    """
    rates = np.stack([memory_rates(device.descriptors) for device in devices])
    rates[:, TERMS.index("operators")] = KEPT_BYTES
    columns = [TERMS.index(name) for name in FITTED_LIVE]
    live = np.maximum.reduceat(corpus.terms[:, columns].astype(np.float64), corpus.flat.offsets[:-1])
    for index, device in enumerate(devices):
        known = np.isfinite(labels[:, index])
        if geometry_of(device.descriptors) is None and known.any():
            rates[index] = fit_memory(live[known], totals[known], labels[known, index])
    return rates


def _energy_rates(
    totals: NDArray[np.float64], labels: NDArray[np.float64], devices: Sequence[Device]
) -> list[NDArray[np.float64] | None]:
    """Return each accelerator's energy per unit of its terms, None for other devices.

    `totals` float64[graphs, terms], `labels` float64[graphs, devices, metrics]. A MAC and a byte of each kind
    of memory cost the same wherever they occur, so that all accelerators are fitted at once.
    """
    places = [energy_columns(device.descriptors) for device in devices]
    names = sorted({name for found in places if found for name in found})
    rows, values = [], []
    for index, found in enumerate(places):
        known = np.isfinite(labels[:, index, 1])
        if found and known.any():
            none = np.zeros(int(known.sum()))
            rows.append(np.stack([totals[known, found[n]] if n in found else none for n in names], axis=1))
            values.append(labels[known, index, 1])
    if not rows:
        return [None] * len(devices)
    costs = fit_costs(np.concatenate(rows), np.concatenate(values))
    made: list[NDArray[np.float64] | None] = []
    for found in places:
        rates = np.zeros(len(TERMS))
        for name, column in (found or {}).items():
            rates[column] = costs[names.index(name)]
        made.append(rates if found else None)
    return made
