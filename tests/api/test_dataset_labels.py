"""From a collection to shipped labels, back into a database, and checked against the vendors' programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset.store import Store
from tests.api.support import Cli

SPACES = ("--space", "kws", "--space", "super_resolution")
DEVICES = ("-d", "tflm", "-d", "ethos-u55-128")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory, program: Cli) -> Path:
    database = tmp_path_factory.mktemp("collected") / "nets.db"
    done = program("collect", *SPACES, "--count", 4, "--seed", 3, *DEVICES, "--db", database, "--json")
    assert done.json["measured"] + done.json["skipped"] == done.json["total"] == 16, done.err
    assert sum(done.json["measured_by_device"].values()) == done.json["measured"]
    return database


def test_labels_go_out_and_come_back(cli: Cli, collected: Path, tmp_path: Path) -> None:
    folder, copy = tmp_path / "labels", tmp_path / "copy.db"
    wrote = cli(
        "dataset", "export", "--db", collected, "-o", folder, "--kind", "labels", "--title", "Trial", "--json"
    )
    assert wrote.json["rows"] == {"kws-int8.parquet": 4, "super_resolution-int8.parquet": 4}
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# Trial\n")
    for _ in range(2):
        read = cli("dataset", "import", folder, "--db", copy, "--workers", 1, "--json")
        assert read.json["rows"]["networks"] == 8, read.err
    with Store.open(collected) as ours, Store.open(copy) as theirs:
        key = ["model_id", "device", "metric", "definition"]
        left, right = (store.frame().set_index(key)["value"].sort_index() for store in (ours, theirs))
        assert left.index.equals(right.index)
        assert (abs(left - right) <= 1e-6 * left).all()


def test_labels_equal_the_vendors_output(cli: Cli, collected: Path) -> None:
    done = cli("dataset", "check", "--db", collected, "--vendor", 3, "--json")
    assert (done.code, done.json["vendor"]["differences"]) == (0, []), done.err
    assert done.json["vendor"]["labels"] >= 6
    assert done.json["duplicate_networks"] == 0


def test_a_wrong_label_is_found(cli: Cli, collected: Path, tmp_path: Path) -> None:
    import sqlite3

    copy = tmp_path / "wrong.db"
    copy.write_bytes(collected.read_bytes())
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE measurements SET value = value * 1.001")
    connection.close()
    done = cli("dataset", "check", "--db", copy, "--vendor", 1)
    assert (done.code, "not" in done.out) == (1, True)


def test_labels_of_another_builder_are_refused(cli: Cli, collected: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    cli("dataset", "export", "--db", collected, "-o", folder, "--kind", "labels")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "kws-float32.parquet").write_bytes((folder / "kws-int8.parquet").read_bytes())
    manifest["files"] = {"kws-float32.parquet": 4}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = cli("dataset", "import", folder, "--db", tmp_path / "a.db", "--workers", 1, "--json")
    assert (done.code, "not built as it was" in done.json["detail"]) == (20, True)
    assert not (tmp_path / "a.db").exists()
