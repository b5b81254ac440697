"""Shipped labels read back as they were, or not at all; databases go out and come back by them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from api.workflows.building import build_network
from dataset.labels import write_labels
from dataset.labels_export import export_labels
from dataset.labels_importing import import_labels
from dataset.labels_reading import is_labels, open_labels, read_labels
from dataset.records import Network
from dataset.store import Store
from perfsage.device import Device
from perfsage.errors import DatasetError, InvalidInputError
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric

NPU = Device(
    name="ethos-u55-128",
    kind="npu",
    description="a test device",
    metrics={Metric.LATENCY_MS: "estimate", Metric.ENERGY_MJ: "estimate"},
    descriptors={"clock_hz": 5e8},
    tool="vela",
    tool_version="5.2.0",
)
HOST = Device(
    name="host-cpu",
    kind="cpu",
    description="a test host",
    metrics={Metric.LATENCY_MS: "wall_clock", Metric.PEAK_MEMORY_BYTES: "heap_peak"},
    tool="ai-edge-litert",
    tool_version="2",
)
DEVICES = (HOST, NPU)
KEY = ["space", "dtype", "seed", "device", "metric", "definition"]


def rows() -> pd.DataFrame:
    """Labels of thirty networks: cycles, floats, integers beyond 32 bits, reasons, gaps."""
    found: list[dict[str, Any]] = []
    for seed in range(30):
        base = {
            "space": ("kws", "detection")[seed % 2],
            "dtype": "int8",
            "seed": seed,
            "family": f"f{seed % 3}",
        }
        npu = {**base, "device": NPU.name, "definition": "estimate", "cpu_operators": seed % 4}
        host = {**base, "device": HOST.name, "cpu_operators": 0}
        latency = {"metric": "latency_ms", "value": 1e3 * (7_654_321 * (seed + 1)) / 5e8}
        if seed % 7 == 0:
            latency = {"metric": "latency_ms", "value": None, "unavailable": "Vela crashed with SIGSEGV"}
        found.append({**npu, **latency})
        found.append({**npu, "metric": "energy_mj", "value": 0.1 + seed / 3})
        if seed % 5:
            heap = {"metric": "peak_memory_bytes", "definition": "heap_peak", "value": 2.0**33 + seed}
            wall = {"metric": "latency_ms", "definition": "wall_clock", "value": 1 / (seed + 1)}
            found.append({**host, **heap})
            found.append({**host, **wall, "statistic": "min", "noise": 0.01 * seed})
    frame = pd.DataFrame(found)
    return frame.assign(statistic=frame["statistic"].fillna("exact"))


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    wanted = [*KEY, "family", "value", "unavailable", "noise", "statistic", "cpu_operators"]
    plain = frame[wanted].astype({name: str for name in (*KEY, "family", "statistic") if name != "seed"})
    plain["unavailable"] = plain["unavailable"].astype(object).where(plain["unavailable"].notna(), "")
    return plain.sort_values(KEY, ignore_index=True)


def test_labels_read_back_as_they_were(tmp_path: Path) -> None:
    source = rows()
    assert write_labels(source, tmp_path, DEVICES) == {"detection-int8.parquet": 15, "kws-int8.parquet": 15}
    assert is_labels(tmp_path)
    ours, theirs = comparable(source), comparable(read_labels(tmp_path))
    exact = theirs["metric"].isin(["peak_memory_bytes"]) | (theirs["device"] == NPU.name)
    exact &= theirs["metric"] != "energy_mj"
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)
    pd.testing.assert_series_equal(ours["value"][exact], theirs["value"][exact], check_exact=True)


def test_bytes_and_cycles_are_stored_as_integers(tmp_path: Path) -> None:
    write_labels(rows(), tmp_path, DEVICES)
    kinds = {column.name: column.kind for column in open_labels(tmp_path).columns}
    assert kinds["ethos-u55-128|latency_ms|estimate"] == "cycles"
    assert kinds["host-cpu|peak_memory_bytes|heap_peak"] == "integer"
    assert kinds["host-cpu|latency_ms|wall_clock"] == kinds["ethos-u55-128|energy_mj|estimate"] == "float"
    schema = pq.read_schema(tmp_path / "kws-int8.parquet")
    stored = {name: str(schema.field(name).type) for name in kinds}
    assert sorted(stored.values()) == ["float", "float", "int32", "int64"]


def test_the_last_of_several_measurements_counts(tmp_path: Path) -> None:
    first = rows().iloc[[1]]
    write_labels(pd.concat([first, first.assign(value=77.0)]), tmp_path, DEVICES)
    assert read_labels(tmp_path)["value"].tolist() == [77.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "nowhere"}, "nowhere"),
        ({"metric": "happiness"}, "happiness"),
        ({"value": -1.0}, "neither finite nor explained"),
        ({"value": np.inf}, "neither finite nor explained"),
        ({"value": None}, "neither finite nor explained"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    from perfsage.errors import PerfsageError

    with pytest.raises(PerfsageError, match=message):
        write_labels(rows().iloc[[1]].assign(**change), tmp_path, DEVICES)
    assert not is_labels(tmp_path)


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cpu_operators"):
        write_labels(rows().drop(columns="cpu_operators"), tmp_path, DEVICES)


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "kws-int8.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda folder: (folder / "kws-int8.parquet").unlink(), "cannot be read"),
        (lambda folder: edit_manifest(folder, files={"kws-int8.parquet": 14}), "15 rows.*14"),
        (lambda folder: edit_manifest(folder, files={"../kws-int8.parquet": 15}), "no file of labels"),
        (lambda folder: edit_manifest(folder, version=9), "version 9"),
        (lambda folder: edit_manifest(folder, columns=[]), "no column of the manifest"),
        (lambda folder: edit_manifest(folder, columns=[{}]), "a column of the manifest"),
        (lambda folder: edit_manifest(folder, devices=[]), "is not described"),
        (
            lambda folder: edit_manifest(folder, devices=[{"name": "host-cpu"}, {"name": NPU.name}]),
            "device is not",
        ),
        (lambda folder: edit_manifest(folder, created_at=3), "incomplete"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not a JSON object"),
    ],
)
def test_damaged_labels_leave_nothing_behind(tmp_path: Path, damage: Any, message: str) -> None:
    write_labels(rows(), tmp_path, DEVICES)
    damage(tmp_path)
    with Store.open(tmp_path / "a.db") as store:
        with pytest.raises(InvalidInputError, match=f"(?s){message}"):
            import_labels(store, tmp_path, build)
        assert store.stats().networks == 0
        assert store.devices() == []


def test_negative_values_in_a_file_are_refused(tmp_path: Path) -> None:
    write_labels(rows(), tmp_path, DEVICES)
    path = tmp_path / "kws-int8.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("ethos-u55-128|energy_mj|estimate")
    negative = table.column(place).to_numpy().copy() * -1
    pq.write_table(table.set_column(place, table.field(place), [negative.astype("float32")]), path)
    with pytest.raises(InvalidInputError, match="negative"):
        read_labels(tmp_path)


def build(space: str, dtype: str, seeds: Iterable[int]) -> Iterator[Network]:
    """Build in this process: how workers do it is tested with the command line."""
    for seed in seeds:
        yield build_network((space, seed, dtype)).record


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Store]:
    """Six keyword spotters, two of them with the same structure, with a value and a reason each."""
    records = [build_network(("kws", seed, "int8")).record for seed in range(6)]
    records[5] = dataclasses.replace(records[5], graph_id=records[2].graph_id)
    with Store.open(tmp_path / "source.db") as store:
        store.add_device(NPU, licence="Apache-2.0")
        store.add_outcomes(records, [m for n, record in enumerate(records) for m in outcome(n, record)])
        yield store


def outcome(number: int, record: Network) -> list[Measurement]:
    common = {
        "model_id": record.model_id,
        "graph_id": record.graph_id,
        "device": NPU.name,
        "definition": "estimate",
        "mode": Mode.SIMULATED,
        "statistic": Statistic.EXACT,
        "tool": "vela",
        "tool_version": "5.2.0",
    }
    conditions = {"memory_mode": "Shared_Sram", "cpu_operators": number % 2, "macs": 10 * number}
    cycles = 1e3 * (1_000_003 * (number + 1)) / 5e8
    return [
        Measurement(metric=Metric.LATENCY_MS, value=cycles, conditions=conditions, **common),  # type: ignore[arg-type]
        Measurement(metric=Metric.ENERGY_MJ, unavailable="no table", **common),  # type: ignore[arg-type]
    ]


def test_a_database_goes_out_and_comes_back(source: Store, tmp_path: Path, database: str) -> None:
    assert export_labels(source, tmp_path / "out") == {"kws-int8.parquet": 5}
    with Store.open(database) as copy:
        for _ in range(2):
            assert import_labels(copy, tmp_path / "out", build) == {"networks": 5, "measurements": 10}
        assert copy.devices() == source.devices()
        assert copy.stats().measurements == 10
        kept = source.frame().query("seed < 5").reset_index(drop=True)
        names = ["seed", "model_id", "device", "metric", "definition", "mode", "statistic", "tool", "value"]
        names += ["macs", "operators", "file_bytes", "family", "unavailable"]
        pd.testing.assert_frame_equal(sorted_frame(copy.frame(), names), sorted_frame(kept, names))
        known = copy.frame().query("metric == 'latency_ms'").sort_values("seed")["conditions"]
        assert [json.loads(text) for text in known][1] == {"memory_mode": "Shared_Sram", "cpu_operators": 1}


def sorted_frame(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    plain = frame[names].astype(object)
    return plain.sort_values(["seed", "metric"], ignore_index=True).fillna("")


def test_an_interrupted_import_goes_on(source: Store, tmp_path: Path) -> None:
    export_labels(source, tmp_path / "out")
    asked: list[int] = []

    def recorded(space: str, dtype: str, seeds: Iterable[int]) -> Iterator[Network]:
        asked.extend(seeds)
        return build(space, dtype, seeds)

    with Store.open(tmp_path / "copy.db") as copy:
        copy.add_device(NPU)
        first = build_network(("kws", 0, "int8")).record
        copy.add_outcomes([first], outcome(0, first))
        import_labels(copy, tmp_path / "out", recorded)
        assert asked == [1, 2, 3, 4]
        assert len(copy.done(NPU.name)) == 5


def test_networks_that_are_built_differently_are_refused(tmp_path: Path) -> None:
    label = {
        "space": "kws",
        "dtype": "int8",
        "seed": 3,
        "family": "x",
        "cpu_operators": 0,
        "unavailable": None,
    }
    size = {"device": HOST.name, "metric": "peak_memory_bytes", "definition": "heap_peak", "value": 1.0}
    frame = pd.DataFrame([{**label, **size, "model_id": "ab" * 32}])
    write_labels(frame, tmp_path, DEVICES)
    with Store.open(tmp_path / "a.db") as store:
        with pytest.raises(DatasetError, match="not built as it was"):
            import_labels(store, tmp_path, build)
        assert store.stats().networks == 0


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store, pytest.raises(DatasetError, match="no labels"):
        export_labels(store, tmp_path / "out")
