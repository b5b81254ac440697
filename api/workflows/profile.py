"""Measure model files on devices, and store what was measured if asked to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from api.workflows.models import read_models

if TYPE_CHECKING:
    from dataset.records import Network
    from perfsage.device import Device
    from perfsage.graph import Graph
    from profilers.profiler import Model, Outcome, Plan


def profile_models(
    paths: Sequence[Path],
    *,
    devices: Sequence[str],
    plan: Plan,
    database: str | None = None,
    on_outcome: Callable[[str, Outcome], None] = lambda device, outcome: None,
) -> list[Outcome]:
    """Measure every model on every device, one device after the other.

    All names and files are checked before anything is measured. A model that a device cannot run gives an
    outcome with the reason. Models are measured in a random order, so that a device that warms up does not
    favour the first of a sorted list; outcomes come back in the order of `paths`. Each one is stored as soon
    as it is there: a device that goes away, or a kill, takes nothing with it.
    """
    from profilers.registry import describe, open_profiler

    described = [describe(name) for name in dict.fromkeys(devices)]
    models = read_models(paths)
    outcomes: list[Outcome] = []
    for device in described:
        order = random.sample(range(len(models)), len(models))
        measured: dict[int, Outcome] = {}
        with closing(open_profiler(device.name)) as profiler:
            found = profiler.profile([models[place] for place in order], plan)
            for place, outcome in zip(order, found, strict=True):
                if database is not None:
                    store_outcomes(database, device, [outcome])
                on_outcome(device.name, outcome)
                measured[place] = outcome
        outcomes += [measured[place] for place in sorted(measured)]
    return outcomes


def store_outcomes(database: str, device: Device, outcomes: Sequence[Outcome]) -> None:
    """Add models, without their weights, and what was measured of them to a database."""
    from dataset.store import Store

    networks = {outcome.model.graph.model_id: record_of(outcome.model) for outcome in outcomes}
    measurements = [measurement for outcome in outcomes for measurement in outcome.measurements]
    with Store.open(database) as store:
        store.add_device(device)
        store.add_outcomes(list(networks.values()), measurements)


def record_of(model: Model) -> Network:
    """Return what the database keeps of a model that came as a file."""
    from dataset.records import Network
    from perfsage.graph import strip_weights
    from perfsage.graph.costs import graph_macs

    macs, unknown = graph_macs(model.graph)
    family = model.path.stem if model.path else ""
    return Network.from_file(
        model.graph, strip_weights(model.graph), element_type(model.graph), None if unknown else macs, family
    )


def element_type(graph: Graph) -> str:
    """Return the type that most operators write, such as `int8`."""
    types = Counter(
        subgraph.tensors[operator.outputs[0]].type
        for subgraph in graph.subgraphs
        for operator in subgraph.operators
        if operator.outputs and operator.outputs[0] >= 0
    )
    return types.most_common(1)[0][0].lower() if types else "unknown"
