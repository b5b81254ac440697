"""Devices beside each other: tiers of speed, and generations of one kind of hardware."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from api.study.figures import Figure, device_colours, hollow, short_names
from api.study.rows import StudyRows
from api.study.statistics import Tier, geometric_mean, latencies, tier_reference, tiers
from api.study.svg import Mark, Span, colour, dot_plot, legend
from perfsage.metrics import Metric

_LEAST_NETWORKS = 3


def tier_figure(study: StudyRows, dtype: str) -> Figure | None:
    """Return how fast devices are beside each other."""
    found = tiers(study, dtype)
    if not found:
        return None
    names = short_names(study)
    not_measured = {row.device for row in study.of(Metric.LATENCY_MS) if hollow(row)}
    kinds = {kind: colour(place) for place, kind in enumerate(dict.fromkeys(t.kind for t in found))}
    marks = [
        (names[t.device], Mark(t.speed, 0, t.kind, _title(t), hollow=t.device in not_measured)) for t in found
    ]
    spans = [(names[t.device], Span(t.low, t.high, t.kind)) for t in found]
    reference = names[tier_reference(study, dtype)]
    rows = [names[tier.device] for tier in found]
    chart = dot_plot(f"speed, relative to {reference}", rows, marks, kinds, spans=spans)
    fewest, most = min(t.networks for t in found), max(t.networks for t in found)
    caption = (
        f"The geometric mean over the {fewest} to {most} networks that both devices ran, and as a line from "
        "the slowest to the fastest of them. Where the lines of two devices overlap, the network decides "
        "which is faster. Imported values are those of the fastest setting that was published."
    )
    extra = [("hollow: predicted or imported", "#555", True)] if not_measured else []
    return Figure(f"Tiers of devices, {dtype}", legend(list(kinds.items()), extra) + chart, caption)


def _title(tier: Tier) -> str:
    return f"{tier.device}: {tier.speed:.3g}, {tier.low:.3g} to {tier.high:.3g}"


def generation_figure(study: StudyRows, dtype: str) -> Figure | None:
    """Return what later generations of hardware gain over the first one of as many MACs a cycle."""
    latency, colours = latencies(study, dtype), device_colours(study)
    marks: list[tuple[str, Mark]] = []
    sentences = []
    for first, later in _generations(study):
        shared = [network for network in latency[later] if network in latency[first]]
        gains = {network: latency[first][network] / latency[later][network] for network in shared}
        if len(gains) < _LEAST_NETWORKS:
            continue
        title = f"{later} beside {first}"
        marks += [(n, Mark(gain, 0, later, f"{n}, {title}: {gain:.3g}")) for n, gain in gains.items()]
        low, high = min(gains.values()), max(gains.values())
        sentences.append(
            f"{later} is {geometric_mean(gains.values()):.2f} times as fast as {first} "
            f"({low:.2f} to {high:.2f})."
        )
    if not marks:
        return None
    present = {mark.series for _, mark in marks}
    keys = legend([(name, paint) for name, paint in colours.items() if name in present])
    rows = [name for name in study.networks if any(name == row for row, _ in marks)]
    chart = dot_plot("speed, relative to the first generation of as many MACs a cycle", rows, marks, colours)
    return Figure(f"Generations of devices, {dtype}", keys + chart, " ".join(sentences))


def _generations(study: StudyRows) -> Iterator[tuple[str, str]]:
    """Yield (first, later) of devices that do as many MACs a cycle, where their makers say both."""
    groups: dict[float, list[tuple[float, str]]] = defaultdict(list)
    for device in study.devices:
        generation, macs = (device.descriptors.get(name) for name in ("generation", "macs_per_cycle"))
        if generation is not None and macs is not None:
            groups[macs].append((generation, device.name))
    for members in groups.values():
        yield from _pairs(sorted(members))


def _pairs(members: Sequence[tuple[float, str]]) -> Iterator[tuple[str, str]]:
    oldest, first = members[0]
    return ((first, name) for generation, name in members if generation > oldest)
