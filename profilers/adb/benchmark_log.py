"""Reads what TFLite's `benchmark_model` prints, in every format there has been.

Classic builds print `Inference timings in us: ...` and `count=... avg=...`; builds before 2020 print `Average
inference timings in us: ...`; LiteRT builds print a `BENCHMARK RESULTS` block. Source: LiteRT's
tflite/tools/benchmark/benchmark_model.cc and litert/tools/benchmark_litert_model.cc.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from perfsage.errors import StableDeviceError
from profilers.adb.jobs import Stamped

_NUMBER = r"([-+]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?)"
"""What `float` reads: a log that was cut or damaged also has "--" or "1.2.3"."""
_PAIR = re.compile(r"(\w+)=" + _NUMBER)
_TIMINGS = re.compile(
    r"(Init|First inference|Warmup(?: \(avg\))?|Inference(?: \(avg\))?|Warmup|no stats): " + _NUMBER
)
_DELTA = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_LITERT_ROW = re.compile(r"(?P<name>[A-Z][A-Za-z ]+(?:\([a-z|]+\))?):\s+(?P<values>[-+0-9.eE|/ ]+)")
_RUNS = re.compile(r"\((\d{1,9}) runs\)")
_SAMPLES = re.compile(r"samples_us=([0-9.,]+)")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: (.*)")
_DELEGATE = re.compile(
    r"(?:Explicitly applied (?P<applied>.+?) delegate, and the model graph will be "
    r"(?P<how>completely|partially) executed by the delegate(?: w/ (?P<kernels>\d{1,9}) delegate kernels)?)"
    r"|(?:Though (?P<unused>.+?) delegate is explicitly applied, the model graph will not be executed)"
)
_REPLACED = re.compile(
    r"Replacing (?P<nodes>\d{1,9})(?: out of (?P<total>\d{1,9}))? node\(s\) "
    r"with delegate \((?P<name>[^)]+)\) node, "
    r"yielding (?P<kernels>\d{1,9}) partitions(?: for subgraph (?P<subgraph>\d{1,9}))?"
    r"|(?P<other>\w+)(?: delegate)?: (?P<taken>\d{1,9}) nodes delegated out of (?P<all>\d{1,9}) nodes with "
    r"(?P<pieces>\d{1,9}) partitions"
)
_MEASURED = "Running benchmark for at least"


@dataclass(frozen=True, slots=True)
class Delegation:
    """How much of the graph a delegate took: `all`, `part` (in `kernels` pieces) or `none`."""

    name: str
    coverage: str
    kernels: int | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """How many of a graph's `total` nodes a delegate replaced, by `kernels` nodes of its own."""

    name: str
    nodes: int
    total: int | None
    kernels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """What one run of the benchmark said; None where the build does not print it."""

    format: str
    """`classic`, `classic_2019`, `litert` or `result_proto`."""
    mean_ms: float
    runs: int | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    warmup_mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    samples_ms: tuple[float, ...] = ()
    init_footprint_mb: float | None = None
    overall_footprint_mb: float | None = None
    peak_rss_mb: float | None = None
    delegations: tuple[Delegation, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    unknown_flags: tuple[str, ...] = ()

    def completed(self, other: BenchmarkReport) -> BenchmarkReport:
        """Return this report with what it does not say taken from `other`, of the same run."""
        missing = [field.name for field in fields(self) if getattr(self, field.name) is None]
        return replace(self, **{name: getattr(other, name) for name in missing})


def parse_benchmark_log(text: str, stderr: str = "") -> BenchmarkReport:
    """Return the figures in a log of benchmark_model; StableDeviceError where there are none.

    The benchmark writes to standard output; TFLite itself says on `stderr` what delegates took.
    """
    both = f"{text}\n{stderr}"
    shared = _memory(text) | {
        "delegations": _delegations(both),
        "replaced": _replaced(both),
        "unknown_flags": _unknown_flags(both),
    }
    if "BENCHMARK RESULTS" in text:
        figures = _litert(text)
    elif line := _last(text, "Average inference timings in us:"):
        figures = _timings(line) | {"format": "classic_2019"}
    elif line := _last(text, "Inference timings in us:"):
        figures = _timings(line) | _statistics(text) | {"format": "classic"}
    else:
        figures = {}
    mean_ms = figures.get("mean_ms")
    if not isinstance(mean_ms, float) or not mean_ms >= 0.0:
        raise StableDeviceError(
            "the benchmark printed no inference time",
            where=repr(text.strip()[-200:]),
            hint="Check that it is TFLite's benchmark_model, built for this phone.",
        )
    return BenchmarkReport(**(shared | figures))  # type: ignore[arg-type]  # gathered by field name


def measured_span_s(lines: Sequence[Stamped]) -> tuple[float, float] | None:
    """Return the phone's uptimes between which the counted inferences ran, without initialization.

    The benchmark announces the warm-up and then the counted runs with the same words; the statistics line
    follows when they are done. None where the format has no such lines.
    """
    starts = [index for index, line in enumerate(lines) if _MEASURED in line.text]
    if len(starts) < 2:
        return None
    begin = starts[1]
    for line in lines[begin + 1 :]:
        if " count=" in line.text:
            return lines[begin].uptime_s, line.uptime_s
    return None


def _last(text: str, mark: str) -> str | None:
    found = [line for line in text.splitlines() if mark in line]
    return found[-1] if found else None


def _timings(line: str) -> dict[str, object]:
    """Read the summary in microseconds: Init, First inference, Warmup, Inference."""
    names = {
        "Init": "init_ms",
        "First inference": "first_ms",
        "Warmup": "warmup_mean_ms",
        "Inference": "mean_ms",
    }
    found = {name.removesuffix(" (avg)"): float(value) / 1e3 for name, value in _TIMINGS.findall(line)}
    return {field: found[name] for name, field in names.items() if name in found}


def _statistics(text: str) -> dict[str, object]:
    """Read the last `count=` line before the summary; `p5`, `median` and `p95` since November 2024."""
    before = text[: text.rindex("Inference timings in us:")]
    lines = [line for line in before.splitlines() if " count=" in line]
    values = {name: float(value) for name, value in _PAIR.findall(lines[-1])} if lines else {}
    if not values:
        return {}
    only = values.get("curr")  # one run, or all runs alike: nothing else is printed
    fields = {
        "min": "min_ms",
        "max": "max_ms",
        "p5": "p5_ms",
        "median": "median_ms",
        "p95": "p95_ms",
        "std": "std_ms",
    }
    found: dict[str, object] = {"runs": int(values.get("count", 0))}
    if samples := _SAMPLES.search(before):  # PerfSAGE's own runner prints every run
        found["samples_ms"] = tuple(float(value) / 1e3 for value in re.findall(_NUMBER, samples[1]))
    for name, field in fields.items():
        value = values.get(name, only if name in ("min", "max") and "avg" not in values else None)
        if value is not None:
            found[field] = value / 1e3
    return found


def _litert(text: str) -> dict[str, object]:
    block = text[text.rindex("BENCHMARK RESULTS") :]
    rows = {
        found["name"].strip(): [float(v) for v in re.findall(_NUMBER, found["values"])]
        for found in _LITERT_ROW.finditer(block)
    }
    single = {
        "Model initialization": "init_ms",
        "Warmup (first)": "first_ms",
        "Warmup (avg)": "warmup_mean_ms",
        "Inference (avg)": "mean_ms",
        "Inference (std)": "std_ms",
        "Init footprint": "init_footprint_mb",
        "Overall footprint": "overall_footprint_mb",
        "Peak memory": "peak_rss_mb",
    }
    figures: dict[str, object] = {field: rows[name][0] for name, field in single.items() if rows.get(name)}
    extremes = rows.get("Inference (min|max)", [])
    if len(extremes) >= 2:
        figures |= {"min_ms": extremes[0], "max_ms": extremes[1]}
    if runs := _RUNS.findall(_last(block, "Inference (avg)") or ""):
        figures["runs"] = int(runs[0])
    return figures | {"format": "litert"}


def _memory(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    if delta := _DELTA.search(text):
        found |= {"init_footprint_mb": float(delta[1]), "overall_footprint_mb": float(delta[2])}
    if (peak := _PEAK.search(text)) and float(peak[1]) > 0:
        found["peak_rss_mb"] = float(peak[1])
    return found


def _delegations(text: str) -> tuple[Delegation, ...]:
    coverage = {"completely": "all", "partially": "part", None: "none"}
    return tuple(
        Delegation(
            found["applied"] or found["unused"],
            coverage[found["how"]],
            int(found["kernels"]) if found["kernels"] else None,
        )
        for found in _DELEGATE.finditer(text)
    )


def _replaced(text: str) -> tuple[Replaced, ...]:
    """Add up a delegate's nodes over subgraphs; the last line on a subgraph counts."""
    by_subgraph: dict[tuple[str, str], Replaced] = {}
    for found in _REPLACED.finditer(text):
        name = found["name"] or found["other"]
        total = found["total"] or found["all"]
        by_subgraph[name, found["subgraph"] or ""] = Replaced(
            name,
            int(found["nodes"] or found["taken"]),
            int(total) if total else None,
            int(found["kernels"] or found["pieces"]),
        )
    sums: dict[str, Replaced] = {}
    for (name, _), part in by_subgraph.items():
        whole = sums.get(name, Replaced(name, 0, 0, 0))
        total_nodes = None if part.total is None or whole.total is None else whole.total + part.total
        sums[name] = Replaced(name, whole.nodes + part.nodes, total_nodes, whole.kernels + part.kernels)
    return tuple(sums.values())


def _unknown_flags(text: str) -> tuple[str, ...]:
    return tuple(flag for line in _UNCONSUMED.findall(text) for flag in line.split())
