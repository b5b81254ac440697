"""Kills, concurrent writers, damaged files and other versions of the schema."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import samples
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dataset import migrations
from dataset.schema import metadata
from dataset.store import Store
from perfsage.errors import DatasetError, SchemaVersionError

HERE = Path(__file__).parent
INSERT_FOR_EVER = """
import sys
import samples
from dataset.store import Store

store = Store.open(sys.argv[1])
store.add_device(samples.DEVICE)
number = int(sys.argv[2])
while True:
    batch = range(number, number + 20)
    store.add_outcomes([samples.network(n) for n in batch], [m for n in batch for m in samples.outcome(n)])
    number += 20
    print(number, flush=True)
"""


def start_inserting(database: str, first: int) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1])))}
    command = [sys.executable, "-c", INSERT_FOR_EVER, database, str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killing_a_writer_leaves_whole_batches(database: str) -> None:
    for round_ in range(3):
        process = start_inserting(database, round_ * 100_000)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(2 + round_)]
        time.sleep(0.01 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        last = int(acknowledged[-1])
        with Store.open(database) as store:
            stats, done = store.stats(), store.done("npu-a")
        assert stats.networks % 20 == 0
        assert stats.measurements == 3 * stats.networks
        assert stats.operator_rows == stats.networks
        assert {("kws", number, "int8") for number in range(round_ * 100_000, last)} <= done


def insert(database: str, numbers: range) -> None:
    with Store.open(database) as store:
        store.add_device(samples.DEVICE)
        for start in range(numbers.start, numbers.stop, 10):
            batch = range(start, start + 10)
            store.add_outcomes(
                [samples.network(n) for n in batch], [m for n in batch for m in samples.outcome(n)]
            )


def test_two_processes_create_and_fill_one_dataset(database: str) -> None:
    context = multiprocessing.get_context("spawn")
    # The second writes what the first does, and more: conflicts and waiting are both met.
    writers = [context.Process(target=insert, args=(database, range(0, end))) for end in (300, 400)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    with Store.open(database) as store:
        assert (store.stats().networks, store.stats().measurements) == (400, 1200)


def test_reading_does_not_wait_for_a_writer(database: str) -> None:
    insert(database, range(0, 20))
    process = start_inserting(database, 1000)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        with Store.open(database) as store:
            begin = time.monotonic()
            counts = [store.stats().measurements for _ in range(3)]
        assert counts[0] >= 60
        assert time.monotonic() - begin < 10
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.db"):
        Store.open(path)


def test_damage_inside_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    insert(str(path), range(0, 200))
    content = bytearray(path.read_bytes())
    content[4096 * 4 :] = b"\xa5" * (len(content) - 4096 * 4)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"damaged|right file"), Store.open(path) as store:
        store.frame()


def test_a_missing_dataset_is_not_created_unasked(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset"):
        Store.open(tmp_path / "none.db", create=False)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(DatasetError, match="folder"):
        Store.open(tmp_path / "no" / "folder" / "x.db")


def test_an_empty_database_is_not_filled_unasked(postgres_url: str) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        Store.open(postgres_url, create=False)


def test_databases_of_other_software_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE devices (name TEXT)")
    connection.close()
    with pytest.raises(DatasetError, match="other software"):
        Store.open(path)


def test_another_migration_is_refused_with_what_to_do(database: str) -> None:
    with Store.open(database) as store, store.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0000'"))
    with pytest.raises(SchemaVersionError, match="perfsage dataset upgrade"):
        Store.open(database)


def test_upgrading_a_current_dataset_changes_nothing(database: str) -> None:
    insert(database, range(0, 10))
    Store.upgrade(database)
    with Store.open(database) as store:
        assert store.stats().networks == 10


def test_upgrade_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with Store.open(path) as store, store.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaVersionError, match="9999"):
        Store.upgrade(path)


def test_migrations_give_the_tables_that_the_code_expects(database: str) -> None:
    with Store.open(database) as store, store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": migrations.VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == migrations.HEAD


def test_downgrading_removes_the_tables(tmp_path: Path) -> None:
    from alembic import command

    with Store.open(tmp_path / "x.db") as store, store.engine.begin() as connection:
        command.downgrade(migrations.configuration(connection), "base")
        assert set(sa.inspect(connection).get_table_names()) == {migrations.VERSION_TABLE}
