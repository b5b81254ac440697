"""Exports read back as they were, again and again, or not at all."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import samples

from dataset.card import data_card
from dataset.export import export_dataset
from dataset.importing import import_dataset
from dataset.records import Network
from dataset.spaces import get_space
from dataset.store import Store
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph

KINDS = ("parquet", "csv")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(tmp_path / "source.db")
    opened.add_device(samples.DEVICE, licence="Apache-2.0")
    numbers = range(6)
    opened.add_outcomes(
        [samples.network(number) for number in numbers], [m for n in numbers for m in samples.outcome(n)]
    )
    data = get_space("kws").build(5, "float32").data
    opened.add_networks([Network.from_file(read_graph(data), data, "float32", None)])
    return opened


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers of networks and the order of categories differ between databases."""
    plain = frame.drop(columns="network", errors="ignore").astype(
        {name: "object" for name, kind in frame.dtypes.items() if kind == "category"}
    )
    keys = [k for k in ("model_id", "metric", "statistic", "subgraph", "index") if k in plain]
    return plain.sort_values(keys).reset_index(drop=True)


@pytest.mark.parametrize("kind", KINDS)
def test_exports_read_back_as_they_were(store: Store, tmp_path: Path, kind: str, database: str) -> None:
    rows = export_dataset(store, tmp_path / "out", kind=kind)
    assert rows == {"networks": 7, "devices": 1, "measurements": 18, "operator_measurements": 12}
    with Store.open(database) as copy:
        assert import_dataset(copy, tmp_path / "out") == rows
        assert import_dataset(copy, tmp_path / "out") == rows
        assert copy.stats() == store.stats()
        assert copy.devices() == store.devices()
        for read in (Store.frame, Store.operator_frame, Store.networks):
            theirs, ours = comparable(read(copy)), comparable(read(store))
            pd.testing.assert_frame_equal(theirs, ours, check_dtype=False, rtol=1e-6)
        assert comparable(copy.frame())["value"].tolist()[0] == comparable(store.frame())["value"].tolist()[0]
        last = copy.networks()
        number = int(last.index[last["seed"].isna()][0])
        assert copy.rebuild(number) == get_space("kws").build(5, "float32").data


@pytest.mark.parametrize("kind", KINDS)
def test_pandas_reads_the_files(store: Store, tmp_path: Path, kind: str) -> None:
    export_dataset(store, tmp_path, kind=kind)
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    frame = read(tmp_path / f"measurements.{kind}")
    assert list(frame["metric"].unique()) == ["latency_ms", "peak_memory_bytes"]
    assert frame["value"].max() == 0.1 + 5 / 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_dataset_is_exported_too(tmp_path: Path, kind: str) -> None:
    with Store.open(tmp_path / "a.db") as empty, Store.open(tmp_path / "b.db") as copy:
        export_dataset(empty, tmp_path / "out", kind=kind)
        assert import_dataset(copy, tmp_path / "out")["measurements"] == 0


def edit_csv(path: Path, change: object) -> None:
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    change(frame).to_csv(path, index=False)  # type: ignore[operator]


def replaced(column: str, value: str) -> object:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[3, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="mode"), "missing.*mode"),
        (lambda frame: frame.rename(columns={"value": "price"}), "value.*price"),
        (replaced("metric", "happiness"), "happiness"),
        (replaced("device", "nowhere"), "nowhere"),
        (replaced("network", "999"), "no network 999"),
        (replaced("network", "-1"), "no network -1"),
        (replaced("value", "-4.5"), "-4.5"),
        (replaced("value", "nan"), "nan|no reason"),
        (replaced("value", "abc"), "cannot be read"),
        (replaced("conditions", "[1]"), "conditions"),
        (replaced("mode", "guessed"), "guessed"),
        (replaced("samples", "1 x"), "samples|float"),
        (lambda frame: frame.iloc[:10], "10 rows.*18"),
    ],
)
def test_wrong_files_leave_nothing_behind(store: Store, tmp_path: Path, change: object, message: str) -> None:
    from perfsage.errors import PerfsageError

    export_dataset(store, tmp_path / "out", kind="csv")
    edit_csv(tmp_path / "out" / "measurements.csv", change)
    with Store.open(tmp_path / "copy.db") as copy:
        with pytest.raises(PerfsageError, match=f"(?s){message}"):
            import_dataset(copy, tmp_path / "out")
        assert copy.stats().networks == 0
        assert copy.stats().measurements == 0
        assert copy.devices() == []


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "there is no export"),
        ("{", "not JSON"),
        ('{"format": "other"}', "not an exported dataset"),
        ('{"format": "perfsage-dataset", "version": 99}', "version 99"),
        ('{"format": "perfsage-dataset", "version": 1, "kind": "xml", "rows": {}}', "does not name"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with Store.open(tmp_path / "a.db") as store, pytest.raises(InvalidInputError, match=message):
        import_dataset(store, tmp_path)


def test_a_damaged_parquet_file_is_named(store: Store, tmp_path: Path) -> None:
    export_dataset(store, tmp_path / "out")
    path = tmp_path / "out" / "networks.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with Store.open(tmp_path / "b.db") as copy, pytest.raises(InvalidInputError, match=r"networks\.parquet"):
        import_dataset(copy, tmp_path / "out")


def test_unknown_kinds_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="xml"):
        export_dataset(store, tmp_path, kind="xml")


def test_the_manifest_is_written_last(store: Store, tmp_path: Path) -> None:
    export_dataset(store, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows"]["measurements"] == 18
    assert "created_at" in manifest


def test_the_card_names_counts_licences_noise_and_failures(store: Store) -> None:
    card = data_card(store, title="Test set")
    assert "7 networks with 7 distinct structures, 18 measurements (6 of them unavailable" in card
    assert "| npu-a | npu | vela 5.2.0 | test | Apache-2.0 |" in card
    assert '| npu-a | crashed, "badly" SIGSEGV | 6 |' in card
    assert "20.22%" in card
    assert "(files)" in card


def test_the_card_states_the_licence_of_ones_own_measurements_only_where_no_source_states_one(
    store: Store,
) -> None:
    store.add_device(dataclasses.replace(samples.DEVICE, name="own", source=""))
    assert "| own | npu | vela 5.2.0 | this project | not stated |" in data_card(store)
    card = data_card(store, licence="CC-BY-4.0")
    assert "| own | npu | vela 5.2.0 | this project | CC-BY-4.0 |" in card
    assert "| npu-a | npu | vela 5.2.0 | test | Apache-2.0 |" in card


def test_the_card_of_an_empty_dataset_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store:
        assert "0 networks" in data_card(store)
