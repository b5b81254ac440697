"""Add devices to a predictor from what a database knows of them, such as published measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any

from api.workflows.labels import Labels, read_labels, stored_devices
from perfsage.device import Device
from perfsage.errors import DatasetError, MissingExtraError
from perfsage.graph import Graph, read_graph, strip_weights

if TYPE_CHECKING:
    from pathlib import Path

    from dataset.store import Store
    from perfsage.training.adapt import AdaptReport, Measured

OnNetwork = Callable[[str, int, int], None]
"""Hears a device's name, and how many of how many networks have been read for it."""


def adapt_stored(
    *,
    predictor: str,
    store: Store,
    devices: Sequence[str],
    count: int,
    output: Path,
    on_network: OnNetwork = lambda name, done, total: None,
) -> list[AdaptReport]:
    """Write a predictor to `output` that also knows `devices`, each from `count` of its networks at most.

    UnknownNameError for a device that the database does not have, DatasetError where it has no network with
    a graph and a value for one, InvalidInputError where these are too few.
    """
    try:
        from perfsage.training.adapt import adapt_devices, check_name
        from perfsage.training.evaluate_predictor import judged_share
    except ImportError as error:
        raise MissingExtraError(error.name or "scipy", "train") from error
    from perfsage.predictor import load_predictor

    found, loaded = stored_devices(store, devices), load_predictor(predictor)
    for device in found:
        check_name(loaded, device)
    source = _Source(store, count, judged_share(loaded), on_network)
    return adapt_devices(loaded, ((device, _measured(source, device)) for device in found), output)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where networks come from: `count` at most, and none of the share `left` that judges predictors."""

    store: Store
    count: int
    left: float
    on_network: OnNetwork


def _measured(source: _Source, device: Device) -> list[Measured]:
    from perfsage.training.adapt import Measured

    store = source.store
    labels = {number: found for number, found in read_labels(store, [device]).items() if found.values}
    numbers = _chosen(source, labels)
    if not numbers:
        what = f"no network with a graph has a value for {device.name}"
        raise DatasetError(what, where=store.url, hint="See `perfsage dataset stats`.")
    measured = []
    for done, number in enumerate(numbers, start=1):
        values = {metric: value for (_, metric), value in labels[number].values.items()}
        measured.append(Measured(_structure(store.rebuild(number)), values))
        source.on_network(device.name, done, len(numbers))
    return measured


def _structure(data: bytes) -> Graph:
    """Return a network without its weights: hundreds of them are held at once."""
    graph = read_graph(data)
    return read_graph(strip_weights(graph)) if graph.has_weights else graph


def _chosen(source: _Source, labels: dict[int, Labels]) -> list[int]:
    """Return the numbers of networks of different structure, as many of each family where there are.

    Which ones depends on nothing but their graphs, so that `perfsage evaluate` judges by others.
    """
    from perfsage.training.splits import hash_share

    frame = source.store.networks()
    frame = frame[frame.index.isin(list(labels)) & (frame["operators"] > 0)].drop_duplicates("graph_id")
    shares = frame["graph_id"].map(hash_share)
    frame = frame.loc[shares[shares >= source.left].sort_values().index]
    families = [_numbers(part) for _, part in frame.groupby("family", observed=True)]
    turns = chain.from_iterable(zip_longest(*families))
    return list(islice((number for number in turns if number is not None), source.count))


def _numbers(frame: Any) -> Iterator[int]:
    return (int(number) for number in frame.index)
