"""The store behaves the same on SQLite and on PostgreSQL."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import samples
import sqlalchemy as sa

from dataset.records import Network
from dataset.spaces import get_space
from dataset.store import Store
from perfsage.errors import DatasetError, InvalidInputError
from perfsage.graph import read_graph


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with Store.open(database) as opened:
        opened.add_device(samples.DEVICE, licence="Apache-2.0")
        yield opened


def fill(store: Store, numbers: range) -> None:
    networks = [samples.network(number) for number in numbers]
    store.add_outcomes(networks, [m for number in numbers for m in samples.outcome(number)])


def test_what_is_added_is_read_back(store: Store) -> None:
    fill(store, range(3))
    frame = store.frame()
    assert len(frame) == 9
    exact = frame[
        (frame["seed"] == 1) & (frame["statistic"] == "exact") & (frame["metric"] == "latency_ms")
    ].iloc[0]
    assert exact["value"] == 0.1 + 1 / 3
    assert exact["graph_id"] == samples.sha(("graph", 1))
    assert exact["model_id"] == samples.sha(("model", 1))
    assert (exact["space"], exact["dtype"], exact["family"], exact["device"]) == (
        "kws",
        "int8",
        "ds_cnn",
        "npu-a",
    )
    assert json.loads(exact["conditions"]) == {"memory_mode": "Shared_Sram", "clock_hz": 5e8}
    assert (exact["mode"], exact["tool"], exact["tool_version"]) == ("simulated", "vela", "5.2.0")
    assert exact["measured_at"].to_pydatetime() == samples.WHEN


def test_samples_give_a_noise_estimate(store: Store) -> None:
    fill(store, range(1))
    frame = store.frame()
    sampled = frame[frame["statistic"] == "min"].iloc[0]
    assert sampled["noise"] == pytest.approx(1.4826 * 0.1875 / 1.375)
    assert frame["noise"].notna().sum() == 1


def test_what_is_unavailable_has_its_reason_and_no_value(store: Store) -> None:
    fill(store, range(2))
    frame = store.frame(metric="peak_memory_bytes")
    assert frame["value"].isna().all()
    assert set(frame["unavailable"]) == {'crashed, "badly"\nSIGSEGV'}


def test_operators_keep_their_place(store: Store) -> None:
    fill(store, range(2))
    frame = store.operator_frame(device="npu-a")
    assert list(zip(frame["subgraph"], frame["index"], strict=True)) == [(0, 0), (0, 1)] * 2
    assert frame["value"].tolist()[0] == 0.25 and math.isnan(frame["value"].tolist()[1])
    assert frame["unavailable"].tolist()[1] == "on the CPU"


def test_adding_again_adds_nothing(store: Store) -> None:
    fill(store, range(3))
    before = store.stats()
    fill(store, range(3))
    store.add_device(samples.DEVICE)
    assert store.stats() == before


def test_done_names_measured_networks_of_one_device(store: Store) -> None:
    fill(store, range(3))
    store.add_networks([samples.network(7)])
    store.add_device(dataclasses.replace(samples.DEVICE, name="npu-b"))
    assert store.done("npu-a") == {("kws", 0, "int8"), ("kws", 1, "int8"), ("kws", 2, "int8")}
    assert store.done("npu-a", space="kws", dtype="float32") == set()
    assert store.done("npu-b") == set()


def test_devices_round_trip(store: Store) -> None:
    assert store.devices() == [samples.DEVICE]


def test_stats_count_failures_by_reason(store: Store) -> None:
    fill(store, range(4))
    stats = store.stats()
    assert (stats.networks, stats.structures, stats.measurements, stats.unavailable) == (4, 4, 12, 4)
    assert stats.failures == {("npu-a", 'crashed, "badly"\nSIGSEGV'): 4}
    assert stats.networks_by_space == {"kws": 4}


def test_an_empty_dataset_has_empty_frames(store: Store) -> None:
    assert store.frame().empty and store.operator_frame().empty and store.networks().empty
    assert store.stats().measurements == 0


def test_a_batch_is_stored_as_a_whole_or_not_at_all(store: Store) -> None:
    stranger = samples.measurement(99)
    with pytest.raises(DatasetError, match="not in the dataset"):
        store.add_outcomes([samples.network(1)], [samples.measurement(1), stranger])
    assert store.stats().networks == 0
    with pytest.raises(DatasetError, match="'nowhere'"):
        store.add_outcomes([samples.network(1)], [samples.measurement(1, device="nowhere")])
    store.add_outcomes([samples.network(1)], [samples.measurement(1)])
    assert (store.stats().networks, store.stats().measurements) == (1, 1)


def test_a_seed_that_is_built_otherwise_now_is_refused(store: Store) -> None:
    fill(store, range(1))
    changed = dataclasses.replace(samples.network(0), model_id=samples.sha("other"))
    labels = dataclasses.replace(samples.measurement(0), model_id=changed.model_id)
    with pytest.raises(DatasetError, match="another version"):
        store.add_outcomes([changed], [labels])


def test_networks_are_built_again_from_their_seed(store: Store) -> None:
    built = get_space("kws").build(5, "int8")
    graph = read_graph(built.data)
    store.add_networks([Network.from_space("kws", 5, "int8", built, graph, macs=1)])
    assert store.rebuild(int(store.networks().index[0])) == built.data
    assert json.loads(store.networks().iloc[0]["architecture"]) == built.architecture


def test_networks_that_came_as_files_give_their_structure(store: Store) -> None:
    data = get_space("kws").build(5, "int8").data
    graph = read_graph(data)
    store.add_networks([Network.from_file(graph, data, "int8", None, "mine")])
    frame = store.networks()
    assert store.rebuild(int(frame.index[0])) == data
    assert frame["seed"].isna().all() and frame["macs"].isna().all()
    with pytest.raises(DatasetError, match="no network 12345"):
        store.rebuild(12345)


def test_large_batches_and_seeds_fit(store: Store) -> None:
    far = dataclasses.replace(samples.network(1), seed=2**62)
    store.add_networks([far, *(samples.network(number) for number in range(2, 1300))])
    assert store.stats().networks == 1299
    store.add_measurements([samples.measurement(number) for number in range(1, 1300)])
    assert len(store.done("npu-a")) == 1299


def test_thirty_rows_a_network_stay_under_6_kb(tmp_path: Path) -> None:
    path = tmp_path / "size.db"
    with Store.open(path) as store:
        store.add_device(samples.DEVICE)
        for start in range(0, 600, 100):
            numbers = range(start, start + 100)
            networks = [
                dataclasses.replace(samples.network(number), architecture="x" * 1500) for number in numbers
            ]
            rows = [samples.measurement(n, definition=f"d{k}") for n in numbers for k in range(30)]
            store.add_outcomes(networks, rows)
    assert path.stat().st_size / 600 < 6 * 1024


def test_frames_know_unknown_devices(store: Store) -> None:
    assert store.frame(device="nowhere").empty


@pytest.mark.parametrize("target", ["mysql://host/name", "sqlite://", "://", "postgresql:/x://"])
def test_other_urls_are_refused(target: str) -> None:
    with pytest.raises(InvalidInputError):
        Store.open(target)


def test_a_server_that_does_not_answer_is_named() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(DatasetError, match=r"(?s)nowhere.*server"):
        Store.open("postgresql://somebody:secret@/x?host=/nowhere/at/all")


def test_passwords_are_not_shown(database: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Store.open("postgresql://somebody:secret@/x?host=/nowhere/at/all")
    assert "secret" not in str(caught.value)


def test_postgresql_tables_are_those_of_sqlite(store: Store) -> None:
    with store.engine.connect() as connection:
        names = set(sa.inspect(connection).get_table_names())
    assert {"networks", "devices", "runs", "measurements", "operator_measurements"} <= names
