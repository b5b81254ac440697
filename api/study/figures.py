"""The figures of a report, each made of a study's rows; a figure without data is left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from api.cli.figures import figure
from api.study.roofline import COMPUTE, FALLBACK, MEMORY, OVERHEAD, Bound, OperatorRate, Roof
from api.study.rows import Row, StudyRows
from api.study.statistics import Outlier, Proxy, frontier, macs_of
from api.study.svg import Axis, Mark, bars, colour, dot_plot, legend, lines, scatter, short
from perfsage.measurement import Mode
from perfsage.metrics import Metric

_BOTTLENECK_COLOURS = {COMPUTE: "#0072b2", MEMORY: "#e69f00", OVERHEAD: "#b9bec6", FALLBACK: "#d55e00"}
_ROOFLINE_DEVICES = 12
_OPERATORS = "#5b4a8a"
_NAME = 26
"""Letters of a device's name that fit beside an axis."""
_TITLES = {
    Metric.LATENCY_MS: "Latency",
    Metric.ENERGY_MJ: "Energy per inference",
    Metric.PEAK_MEMORY_BYTES: "Peak memory",
    Metric.STORAGE_BYTES: "Storage",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart as HTML with its title, and what to know to read it."""

    title: str
    body: str
    caption: str


def hollow(row: Row) -> bool:
    """Whether a value was neither measured nor simulated by a tool."""
    return row.mode in (Mode.PREDICTED, Mode.IMPORTED)


def device_colours(study: StudyRows) -> dict[str, str]:
    """Return one colour a device, the same in every figure."""
    return {device.name: colour(place) for place, device in enumerate(study.devices)}


def short_names(study: StudyRows) -> dict[str, str]:
    """Return names that fit beside an axis: long ones are cut where they stay different."""
    names = [device.name for device in study.devices]
    cut = {name: name if len(name) <= _NAME else f"{name[: _NAME - 1].rstrip('-')}…" for name in names}
    return {name: cut[name] if list(cut.values()).count(cut[name]) == 1 else name for name in names}


def _title(row: Row) -> str:
    assert row.value is not None
    text = f"{row.label} on {row.device}: {figure(row.value, row.metric)} ({row.mode})"
    if row.low is not None and row.high is not None:
        text += f", {figure(row.low, row.metric)} to {figure(row.high, row.metric)}"
    return text


def _legend(study: StudyRows, rows: Sequence[Row]) -> str:
    colours, names = device_colours(study), short_names(study)
    present = {row.device for row in rows}
    extra = [("hollow: predicted or imported", "#555", True)] if any(hollow(row) for row in rows) else []
    return legend([(names[name], paint) for name, paint in colours.items() if name in present], extra)


def overview(study: StudyRows, metric: Metric, dtype: str) -> Figure | None:
    """Return every network's value on every device."""
    rows = [row for row in study.of(metric) if row.dtype == dtype and row.value]
    if not rows:
        return None
    sizes = {row.network: _size(study, row.network) for row in rows}
    order = sorted(sizes, key=lambda name: (sizes[name] == 0, sizes[name], name))
    marks = [(row.network, Mark(row.value or 0.0, 0, row.device, _title(row), hollow(row))) for row in rows]
    chart = dot_plot(f"{_TITLES[metric]}, {metric.unit}", order, marks, device_colours(study))
    definitions = _definitions(study, metric, {row.device for row in rows})
    last = ", those of unknown MACs last" if 0 in sizes.values() else ""
    caption = f"Networks from fewest to most MACs{last}. What is counted: {definitions}."
    return Figure(f"{_TITLES[metric]}, {dtype}", _legend(study, rows) + chart, caption)


def _definitions(study: StudyRows, metric: Metric, present: set[str]) -> str:
    """Say what is counted, and on which devices."""
    names, by_text = short_names(study), defaultdict[str, list[str]](list)
    for device in study.devices:
        if device.name in present:
            by_text[device.metrics.get(metric, "not said")].append(names[device.name])
    return "; ".join(f"{text} ({', '.join(devices)})" for text, devices in by_text.items())


def _size(study: StudyRows, network: str) -> int:
    return max((row.macs or 0 for row in study.rows if row.network == network), default=0)


def accuracy_frontier(study: StudyRows, metric: Metric, dtype: str) -> Figure | None:
    """Return published accuracy against a cost, with each device's frontier."""
    from dataset.zoo.registry import NETWORKS

    accuracy = {name: network.top1_percent for name, network in NETWORKS.items() if network.top1_percent}
    rows = [r for r in study.of(metric) if r.dtype == dtype and r.value and r.network in accuracy]
    if len({row.network for row in rows}) < 4:
        return None
    colours, curves, best = device_colours(study), [], set()
    for device in dict.fromkeys(row.device for row in rows):
        mine = [row for row in rows if row.device == device]
        points = [(row.value or 0.0, accuracy[row.network] or 0.0) for row in mine]
        chosen = frontier(points)
        best |= {(device, mine[place].network) for place in chosen}
        curves.append(([points[place] for place in chosen], colours[device], ""))
    named: set[str] = set()
    marks = []
    for row in rows:
        first = (row.device, row.network) in best and row.network not in named
        named |= {row.network} if first else set()
        point = (row.value or 0.0, accuracy[row.network] or 0.0)
        marks.append(Mark(*point, row.device, _title(row), hollow(row), row.network if first else ""))
    x = Axis.over(f"{_TITLES[metric]}, {metric.unit}", [mark.x for mark in marks])
    y = Axis.over("published ImageNet top-1, %", [mark.y for mark in marks], log=False)
    chart = scatter(x, y, marks, colours, curves=curves)
    caption = (
        "Lines join the networks that no other one beats on that device. Accuracy is what was published for "
        "trained float32 weights; the study's own weights are random."
    )
    return Figure(f"Accuracy for {_TITLES[metric].lower()}, {dtype}", _legend(study, rows) + chart, caption)


def rooflines(found: Sequence[Bound], rates: Sequence[OperatorRate], dtype: str) -> list[Figure]:
    """Return a roofline a device, with its networks and its types of operators."""
    figures: list[Figure] = []
    for device in dict.fromkeys(bound.row.device for bound in found):
        mine = [b for b in found if b.row.device == device and b.row.dtype == dtype and b.macs_per_s > 0]
        if len(mine) >= 3 and len(figures) < _ROOFLINE_DEVICES:
            operators = [rate for rate in rates if (rate.device, rate.dtype) == (device, dtype)]
            figures.append(_roofline(device, mine, operators, dtype))
    return figures


def _roofline(device: str, found: Sequence[Bound], operators: Sequence[OperatorRate], dtype: str) -> Figure:
    roof = found[0].roof
    xs = [bound.intensity for bound in found] + [rate.intensity for rate in operators]
    knee = roof.macs_per_s / roof.bytes_per_s
    x = Axis.over("MACs for each byte of weights and activations", [*xs, knee / 2, knee * 2])
    ys = [bound.macs_per_s for bound in found] + [rate.macs_per_s for rate in operators]
    y = Axis.over("MACs a second", [*ys, roof.macs_per_s])
    marks = [
        Mark(
            b.intensity, b.macs_per_s, b.bottleneck, name=b.row.network,
            title=f"{_title(b.row)}: {b.macs_per_s / 1e9:.3g} GMAC/s, bound by {b.bottleneck}",
        )
        for b in found
    ]  # fmt: skip
    marks += [
        Mark(
            rate.intensity, rate.macs_per_s, "operators", hollow=True, name=rate.type,
            title=f"{rate.type}: {rate.macs_per_s / 1e9:.3g} GMAC/s over {rate.operators} operators",
        )
        for rate in operators
    ]  # fmt: skip
    curves = [(_slope(roof, roof.bytes_per_s, x, y), "#222", "")]
    if roof.weight_bytes_per_s < roof.bytes_per_s:
        curves.append((_slope(roof, roof.weight_bytes_per_s, x, y), "#222", "5 4"))
    names = [name for name in _BOTTLENECK_COLOURS if any(b.bottleneck == name for b in found)]
    extra = [("all operators of a type", _OPERATORS, True)] if operators else []
    keys = legend([(f"bound by {name}", _BOTTLENECK_COLOURS[name]) for name in names], extra)
    colours = {**_BOTTLENECK_COLOURS, "operators": _OPERATORS}
    chart = scatter(x, y, marks, colours, curves=curves, size=(760, 380))
    origin = "as its configuration states" if roof.stated else "the highest that any network here reached"
    rates = f"{_rate(roof.macs_per_s)}MAC/s and {_rate(roof.bytes_per_s)}B/s"
    caption = f"Roof: {rates}, {origin}."
    if len(curves) > 1:
        caption += f" Dashed: the memory that weights come from, {_rate(roof.weight_bytes_per_s)}B/s."
    return Figure(f"Roofline of {device}, {dtype}", keys + chart, caption)


def _slope(roof: Roof, bytes_per_s: float, x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Return the line along a memory's rate up to the compute roof."""
    low = max(x.low, y.low / bytes_per_s)
    knee = roof.macs_per_s / bytes_per_s
    if knee >= x.high:
        return [(low, low * bytes_per_s), (x.high, x.high * bytes_per_s)]
    return [(low, low * bytes_per_s), (knee, roof.macs_per_s), (x.high, roof.macs_per_s)]


def _rate(value: float) -> str:
    return short(float(f"{value:.3g}"))


def bottlenecks(study: StudyRows, found: Sequence[Bound], dtype: str) -> Figure | None:
    """Return how many networks each bottleneck holds back, by device."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for bound in found:
        if bound.row.dtype == dtype:
            counts[bound.row.device][bound.bottleneck] += 1
    if not counts:
        return None
    rows = [
        (short_names(study)[device], [(count[name], paint, f"{count[name]} networks: {name}")
                  for name, paint in _BOTTLENECK_COLOURS.items() if count[name]])
        for device, count in counts.items()
    ]  # fmt: skip
    chart = bars("networks", rows, show=lambda value: f"{value:.0f}")
    keys = legend(list(_BOTTLENECK_COLOURS.items()))
    caption = (
        "The largest share of a network's latency: time at the compute roof, time at the memory roof, or the "
        "rest (dispatch, kernels below the roof): fallback where an accelerator or delegate leaves "
        "one operator in twenty or more to other kernels."
    )
    return Figure(f"What holds networks back, {dtype}", keys + chart, caption)


def scaling(study: StudyRows, by: str) -> Figure | None:
    """Return speed against threads or batch (inputs a second), relative to one."""
    groups: dict[str, dict[int, float]] = defaultdict(dict)
    for row in study.of(Metric.LATENCY_MS, basic=False):
        others = row.batch == 1 if by == "threads" else row.threads == 1
        if row.mode is not Mode.IMPORTED and row.delegate == "default" and others and row.value:
            groups[f"{row.label} on {row.device}"][getattr(row, by)] = row.value / row.batch
    whole = {name: values for name, values in groups.items() if len(values) > 1 and 1 in values}
    if not whole:
        return None
    speeds = {name: [(n, v[1] / v[n]) for n in sorted(v)] for name, v in whole.items()}
    changed = sorted(speeds.items(), key=lambda item: -item[1][-1][1])
    shown = [*changed[:6], *changed[-6:]] if len(changed) > 12 else changed
    most = max(n for values in speeds.values() for n, _ in values)
    x = Axis(by, 1, most, log=most > 4, whole=True)
    y = Axis.over("speed, relative to 1", [s for _, v in shown for _, s in v], log=False, zero=True)
    colours = {name: colour(place) for place, (name, _) in enumerate(shown)}
    chart = lines(x, y, shown, colours)
    ratios = sorted(values[-1][1] for values in speeds.values())
    middle = ratios[len(ratios) // 2]
    what = "a second thread" if most == 2 else f"{most} {by}" if by == "threads" else f"a batch of {most}"
    ends = "; the six that gain most and the six that gain least are drawn" if len(changed) > 12 else ""
    caption = (
        f"With {what}, {len(ratios)} combinations reach {middle:.2f} times the speed in the median, "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}{ends}."
    )
    return Figure(f"Scaling with {by}", legend(list(colours.items())) + chart, caption)


def proxy_figure(study: StudyRows, found: Sequence[Proxy], dtype: str) -> Figure | None:
    """Return latency against MACs with each device's fit."""
    mine = [proxy for proxy in found if proxy.dtype == dtype]
    rows = [r for r in study.of(Metric.LATENCY_MS) if r.dtype == dtype and r.value and macs_of(study, r)]
    if not mine:
        return None
    colours = device_colours(study)
    marks = [
        Mark(float(macs_of(study, row) or 1), row.value or 0.0, row.device, _title(row), hollow(row))
        for row in rows
    ]
    x = Axis.over("MACs", [mark.x for mark in marks])
    y = Axis.over("latency, ms", [mark.y for mark in marks])
    curves = [([(m, _fitted(p, m, y)) for m in (x.low, x.high)], colours[p.device], "4 3") for p in mine]
    worst = max(mine, key=lambda p: max(p.worst_ratio, 1 / p.worst_ratio))
    errors = [proxy.mean_error_percent for proxy in mine]
    wrong = [proxy.wrong_pairs_percent for proxy in mine]
    caption = (
        "Dashed: the best power law of MACs. "
        f"Its mean error is {min(errors):.0f} to {max(errors):.0f} %, and "
        f"MACs order {min(wrong):.0f} to {max(wrong):.0f} % of the pairs of networks wrongly; "
        f"{worst.worst_network} on {worst.device} takes {worst.worst_ratio:.2g} times what the law says."
    )
    return Figure(f"MACs as a proxy of latency, {dtype}", _legend(study, rows) + scatter(
        x, y, marks, colours, curves=curves, dot=3.2
    ), caption)  # fmt: skip


def _fitted(proxy: Proxy, macs: float, axis: Axis) -> float:
    latency_ms: float = proxy.factor * macs**proxy.exponent
    return min(max(latency_ms, axis.low), axis.high)


def spread(study: StudyRows, outliers: Sequence[Outlier]) -> Figure | None:
    """Return how much repetitions of a measurement vary."""
    rows = [r for r in study.of(Metric.LATENCY_MS, basic=False) if r.noise and r.value]
    if len(rows) < 3:
        return None
    colours = device_colours(study)
    marks = [
        Mark(row.value or 0.0, 100 * (row.noise or 0.0), row.device, f"{_title(row)}: {row.noise:.1%}")
        for row in rows
    ]
    x = Axis.over("latency, ms", [mark.x for mark in marks])
    y = Axis.over("coefficient of variation over visits, %", [mark.y for mark in marks])
    noises = sorted(row.noise or 0.0 for row in rows)
    caption = (
        f"Half of the measurements vary by less than {noises[len(noises) // 2]:.1%}, one in ten by more than "
        f"{noises[int(0.9 * len(noises))]:.1%}. Latency is the least of the visits, which varies less."
    )
    if outliers:
        far = max(outliers, key=lambda o: abs(o.score))
        caption += (
            f" {len(outliers)} values are outliers of their device's fit to MACs; the farthest is "
            f"{far.label} on {far.device}, {far.ratio:.2g} times the fit."
        )
    return Figure("Spread of repeated measurements", _legend(study, rows) + scatter(
        x, y, marks, colours, size=(760, 320)
    ), caption)  # fmt: skip
