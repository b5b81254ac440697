# ruff: noqa: E501  # the lines are as long as the tool prints them
"""Every format that benchmark_model has printed. Blocks without a mark are real output of a build of TFLite
2.14.1; the others are composed from the sources of the builds that print them."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsage.errors import StableDeviceError
from profilers.adb.benchmark_log import Delegation, Replaced, measured_span_s, parse_benchmark_log
from profilers.adb.jobs import Stamped
from profilers.adb.operator_profile import parse_operator_csv, parse_operator_proto
from profilers.adb.result_proto import decode_benchmark_result

CLASSIC = """INFO: STARTING!
WARN: Unconsumed cmdline flags: --use_gpu=true
INFO: Num threads: [1]
INFO: Loaded model kws.tflite
INFO: The input model file size (MB): 0.053936
INFO: Initialized session in 0.625ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=1189 first=673 curr=397 min=387 max=711 avg=420.711 std=68

INFO: Running benchmark for at least 5 iterations and at least 0.1 seconds but terminate if exceeding 150 seconds.
INFO: count=249 first=407 curr=395 min=390 max=429 avg=398.084 std=7

INFO: Inference timings in us: Init: 625, First inference: 673, Warmup (avg): 420.711, Inference (avg): 398.084
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=3.23828 overall=3.41016
INFO: Overall peak memory footprint (MB) via periodic monitoring: 10.207
"""
NOVEMBER_2024 = CLASSIC.replace("std=7", "std=7 p5=391 median=396 p95=421")
YEAR_2019 = "STARTING!\nAverage inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9\n"
LITERT = """========== BENCHMARK RESULTS ==========
Signature name:       serving_default
Model initialization: 45.32 ms
Warmup (first):       120.45 ms
Warmup (avg):         98.76 ms (1 runs)
Inference (avg):      85.23 ms (50 runs)
Inference (min|max):  80.11 | 99.02 ms
Inference (std):      3.21
Throughput:           12.45 MB/s
Memory Usage:
Init footprint:       25.60 MB
Overall footprint:    32.40 MB
Peak memory:          35.20 MB
"""


def test_classic() -> None:
    found = parse_benchmark_log(CLASSIC)
    assert (found.format, found.mean_ms, found.min_ms, found.max_ms, found.std_ms, found.runs) == (
        "classic",
        0.398084,
        0.39,
        0.429,
        0.007,
        249,
    )
    assert (found.init_ms, found.first_ms, found.warmup_mean_ms) == (0.625, 0.673, 0.420711)
    assert (found.init_footprint_mb, found.overall_footprint_mb, found.peak_rss_mb) == (
        3.23828,
        3.41016,
        10.207,
    )
    assert found.median_ms is None and found.unknown_flags == ("--use_gpu=true",)


def test_percentiles_since_november_2024() -> None:
    found = parse_benchmark_log(NOVEMBER_2024)
    assert (found.p5_ms, found.median_ms, found.p95_ms) == (0.391, 0.396, 0.421)


def test_2019() -> None:
    found = parse_benchmark_log(YEAR_2019)
    assert (found.format, found.mean_ms, found.init_ms, found.warmup_mean_ms) == (
        "classic_2019",
        pytest.approx(79.7609),
        38.467,
        83.235,
    )


def test_litert() -> None:
    found = parse_benchmark_log(LITERT)
    assert (found.format, found.mean_ms, found.runs, found.min_ms, found.max_ms) == (
        "litert",
        85.23,
        50,
        80.11,
        99.02,
    )
    assert (found.init_ms, found.first_ms, found.std_ms, found.peak_rss_mb) == (45.32, 120.45, 3.21, 35.2)


@pytest.mark.parametrize(
    ("line", "minimum"), [("count=1 curr=123", 0.123), ("count=5 curr=7(all same)", 0.007), ("count=0", None)]
)
def test_short_statistics(line: str, minimum: float | None) -> None:
    text = f"INFO: {line}\nINFO: Inference timings in us: Init: 5, First inference: 9, Inference (avg): 8"
    assert parse_benchmark_log(text).min_ms == minimum


def test_delegates() -> None:
    text = (
        "INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n"
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate "
        "w/ 3 delegate kernels.\n"
        "INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
    )
    assert parse_benchmark_log(text + CLASSIC).delegations == (
        Delegation("GPU", "all"),
        Delegation("XNNPACK", "part", 3),
        Delegation("NNAPI", "none"),
    )


def test_how_many_nodes_a_delegate_took() -> None:
    """TFLite's own words, on stderr: of newer builds, of older ones, and of delegates that count themselves."""
    newer = (
        "INFO: Replacing 20 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, "
        "yielding 3 partitions for subgraph 0.\n"
        "INFO: Replacing 4 out of 9 node(s) with delegate (TfLiteGpuDelegateV2) node, "
        "yielding 1 partitions for subgraph 1.\n"
    )
    report = parse_benchmark_log(CLASSIC, newer)
    assert report.replaced == (Replaced("TfLiteGpuDelegateV2", 24, 40, 4),)
    older = "INFO: Replacing 20 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 3 partitions.\n"
    assert parse_benchmark_log(CLASSIC, older).replaced == (Replaced("TfLiteNnapiDelegate", 20, None, 3),)
    counted = "INFO: Hexagon delegate: 0 nodes delegated out of 31 nodes with 0 partitions.\n"
    assert parse_benchmark_log(CLASSIC, counted).replaced == (Replaced("Hexagon", 0, 31, 0),)


def test_only_the_counted_runs_are_the_window() -> None:
    lines = [Stamped(float(i), text) for i, text in enumerate(CLASSIC.splitlines())]
    assert measured_span_s(lines) == (9.0, 10.0)
    assert measured_span_s([Stamped(0.0, text) for text in LITERT.splitlines()]) is None
    assert measured_span_s(lines[:10]) is None


@pytest.mark.parametrize(
    "text", ["", "hello", "Inference timings in us:", "BENCHMARK RESULTS", "count=1 avg=2"]
)
def test_no_time_is_an_error(text: str) -> None:
    with pytest.raises(StableDeviceError, match="no inference time"):
        parse_benchmark_log(text)


@pytest.mark.parametrize("wrong", ["--", "1.2.3", "e", "-", "9" * 5000, "1e999"])
@pytest.mark.parametrize("log", [CLASSIC, LITERT, YEAR_2019])
def test_damaged_numbers_end_in_a_report_or_in_an_error_that_helps(log: str, wrong: str) -> None:
    damaged = re.sub(r"[0-9][0-9.e+]*", wrong, log)
    try:
        assert parse_benchmark_log(damaged).mean_ms >= 0
    except StableDeviceError as error:
        assert error.hint


@given(
    st.lists(st.sampled_from((CLASSIC + LITERT + YEAR_2019).splitlines()) | st.text(max_size=40), max_size=12)
)
def test_garbage_is_refused_and_never_more(lines: list[str]) -> None:
    try:
        assert parse_benchmark_log("\n".join(lines)).mean_ms >= 0
    except StableDeviceError as error:
        assert error.hint


CSV_NEW = """Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.063, 0.063, 100%, 100%, 512, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.009, 0.00868526, 2.20925%, 2.20925%, 0, 1, [a/Relu;b\tc]:0
SOFTMAX, 0, 0.00010757, 0.0273623%, 100%, 0, 1, [Identity]:12

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
SOFTMAX, 0, 0.00010757, 0.0273623%, 100%, 0, 1, [Identity]:12
"""
CSV_OLD = (
    CSV_NEW.replace("type, first", "type, start, first")
    .replace("D, 0.009", "D, 0.1, 0.009")
    .replace("X, 0, 0.0001", "X, 0.2, 0, 0.0001")
)
TABLE = """INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                                 CONV_2D\t    0.009\t    0.009\t  2.215%\t  2.215%\t     0.000\t        1\t[a/Relu;b]:0
\t                      TfLiteGpuDelegateV2\t    0.001\t    0.002\t  0.039%\t100.000%\t     0.000\t        1\t[Identity]:13

============================== Top by Computation Time ==============================
"""


@pytest.mark.parametrize("text", [CSV_NEW, CSV_OLD])
def test_operator_csv_is_read_by_its_header(text: str) -> None:
    conv, softmax = parse_operator_csv(text)
    assert (conv.type, conv.name, conv.node, conv.mean_ms, conv.calls) == (
        "CONV_2D",
        "a/Relu;b,c",
        0,
        0.00868526,
        1,
    )
    assert (softmax.node, softmax.mean_ms) == (12, 0.00010757)


def test_the_printed_table_is_read_too() -> None:
    assert [(o.type, o.node, o.mean_ms) for o in parse_operator_csv(TABLE)] == [
        ("CONV_2D", 0, 0.009),
        ("TfLiteGpuDelegateV2", 13, 0.002),
    ]


def test_no_operators_is_an_error() -> None:
    with pytest.raises(StableDeviceError, match="holds no operators"):
        parse_operator_csv("nothing")


def test_operator_proto() -> None:
    pytest.importorskip("google.protobuf")
    from ai_edge_litert import profiling_info_pb2

    profile = profiling_info_pb2.BenchmarkProfilingData(model_name="m")
    part = profile.runtime_profile.subgraph_profiles.add(subgraph_index=0)
    for order, name in ((1, "[b]:1"), (0, "[a]:0")):
        entry = part.per_op_profiles.add(node_type="ADD", name=name, run_order=order, times_called=1)
        entry.inference_microseconds.sum, entry.inference_microseconds.count = 30 + order, 3
    found = parse_operator_proto(profile.SerializeToString())
    assert [(o.node, o.mean_ms) for o in found] == [(0, 0.01), (1, pytest.approx(31 / 3000))]
    with pytest.raises(StableDeviceError, match="cannot be decoded"):
        parse_operator_proto(b"\xff\xff\xff")


def message(*fields: tuple[int, bytes | float | int]) -> bytes:
    """A message in protobuf's wire format; floats as 32 bits, as benchmark_result.proto has them."""
    parts = []
    for number, value in fields:
        if isinstance(value, bytes):
            parts.append(bytes([number << 3 | 2, len(value)]) + value)
        elif isinstance(value, float):
            parts.append(bytes([number << 3 | 5]) + struct.pack("<f", value))
        else:
            parts.append(bytes([number << 3, value]))
    return b"".join(parts)


RESULT = message(
    (1, b"kws"),
    (2, message(*((i, float(i)) for i in range(1, 11)))),
    (3, message((1, 2048.0), (2, 4096.0), (3, -1.0))),
    (4, message((1, 0.5), (2, 50), (3, 7))),
)


def test_result_file() -> None:
    found = decode_benchmark_result(RESULT)
    assert (found.mean_ms, found.min_ms, found.median_ms, found.p95_ms, found.init_ms) == (
        1.0,
        2.0,
        5.0,
        7.0,
        8.0,
    )
    assert (found.runs, found.init_footprint_mb, found.overall_footprint_mb, found.peak_rss_mb) == (
        50,
        2.0,
        4.0,
        None,
    )


@given(st.integers(0, len(RESULT)), st.binary(max_size=20))
def test_a_damaged_result_file_is_refused(length: int, tail: bytes) -> None:
    try:
        decode_benchmark_result(RESULT[:length] + tail)
    except StableDeviceError as error:
        assert "result file" in error.what
