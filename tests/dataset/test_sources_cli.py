"""`perfsage dataset sources` and `import-source`."""

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from api.cli.main import run
from dataset import migrations
from dataset.store import Store

CELL = "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "cells.csv"
    pd.DataFrame({"cell": [CELL], "help_raspi4": [3.5]}).to_csv(path, index=False)
    return path


def test_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dataset", "sources", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["sources"]
    assert {"help-nasbench201", "mlperf-tiny", "ncnn"} <= {row["name"] for row in rows}
    assert run(["dataset", "sources"]) == 0
    assert "data/nasbench201/latency/*.pt" in capsys.readouterr().out


def test_a_source_is_imported(database: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "import-source", "help-nasbench201", str(table), "--db", database]
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": "1.0", "source": "help-nasbench201", "licence": "MIT", "devices": 1, "networks": 1,
        "measurements": 1, "left_out": {},
    }  # fmt: skip
    with Store.open(database, create=False) as store:
        assert store.frame(device="help-raspi4")["value"].tolist() == [3.5]


def test_a_database_at_another_migration_is_refused(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "old.db"
    with Store.open(database) as store, store.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    command = ["dataset", "import-source", "help-nasbench201", str(table), "--db", str(database)]
    assert run(command) == 21
    assert "Error:" in capsys.readouterr().err
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM networks").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "."], 11, "no source 'nowhere'"),
        (["edgemark", "missing.csv"], 12, "no such file"),
        (["edgemark", ".", "--model", "CNN_1"], 12, "'CNN_1' does not name a model"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dataset", "import-source", *arguments, "--db", str(tmp_path / "new.db")]) == status
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public tables are not beside the repository")
@pytest.mark.parametrize(
    ("name", "file", "measurements"),
    [
        ("edgemark", "edgemark.csv", 3 * 545),
        ("mlperf-tiny", "mlperf_tiny_v0.5_to_v1.2.csv", 287 + 118),
        ("ncnn", "ncnn_benchmark.parquet", 2 * (8554 - 11)),
        ("qai-hub", "qai_hub_tflite.parquet", 2 * 3875),
    ],
)
def test_every_row_of_the_public_tables_is_stored(
    tmp_path: Path, name: str, file: str, measurements: int
) -> None:
    database = str(tmp_path / "public.db")
    assert run(["dataset", "import-source", name, str(SHARED / file), "--db", database]) == 0
    with Store.open(database, create=False) as store:
        assert store.stats().measurements == measurements


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public tables are not beside the repository")
@pytest.mark.parametrize(
    ("name", "file", "prefixes"),
    [
        ("help-nasbench201", "nasbench201_latency_ms.parquet", ("help_",)),
        ("oneproxy", "nasbench201_latency_ms.parquet", ("nnmeter_", "eagle_", "hwnasbench_")),
        ("help-fbnet", "fbnet_latency_ms.parquet", ("help_",)),
    ],
)
def test_rows_of_the_known_spaces_are_stored(
    tmp_path: Path, name: str, file: str, prefixes: tuple[str, ...]
) -> None:
    frame = pd.read_parquet(SHARED / file).iloc[:5]
    frame.to_parquet(tmp_path / "some.parquet")
    database = str(tmp_path / "public.db")
    assert run(["dataset", "import-source", name, str(tmp_path / "some.parquet"), "--db", database]) == 0
    columns = [column for column in frame.columns if column.startswith(prefixes)]
    with Store.open(database, create=False) as store:
        assert store.stats().measurements == int(frame[columns].notna().sum().sum())
        assert len(store.devices()) == len(columns)
        values = store.frame()["value"]
    assert sorted(values) == sorted(float(v) for v in frame[columns].to_numpy().ravel() if v == v)


@pytest.mark.parametrize("command", [["import-source", "help-nasbench201"], ["import"]])
def test_what_cannot_be_read_leaves_no_empty_database(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, made = tmp_path / "wrong.csv", tmp_path / "made.db"
    wrong.write_text("a,b\n1,2\n", encoding="utf-8")
    assert run(["dataset", *command, str(wrong), "--db", str(made)]) != 0
    assert str(wrong) in capsys.readouterr().err.replace("\n", "")
    assert list(tmp_path.iterdir()) == [wrong]
