"""Collection on real tools: killed at any moment, it goes on, and nothing is lost or measured twice."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from api.workflows.building import SampledModel, build_networks
from api.workflows.collect import Collection, collect
from dataset.store import Store
from perfsage.errors import InvalidInputError, UnknownNameError
from profilers.workers import WorkerPool
from tests.api.support import PROGRAM, ROOT, Cli

COUNT = 110
"""Enough that a commit happens well before the end: the store is written at least every 64 outcomes."""
DEVICES = ("tflm", "ethos-u55-128")
OPTIONS = ["--space", "kws", "--count", str(COUNT), "--seed", "5", "-d", DEVICES[0], "-d", DEVICES[1]]


def _rows(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM measurements").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _children(process: int) -> list[int]:
    """Return the worker processes of `process`, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and int(fields[1]) == process:
            found.append(int(entry.name))
    return found


def _kill_when(database: Path, rows: int) -> list[int]:
    """Start a collection, kill it with SIGKILL once it has workers and `rows` rows; return the workers."""
    command = [*PROGRAM, "collect", *OPTIONS, "--db", database]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        workers: list[int] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not workers or _rows(database) < rows):
            assert process.poll() is None, "the collection ended before it was killed"
            workers = _children(process.pid) or workers
            time.sleep(0.005)
        process.kill()
    return workers


def test_a_killed_collection_goes_on(tmp_path: Path, cli: Cli) -> None:
    database = tmp_path / "kws.db"
    for more_rows in (0, 1, 1):
        workers = _kill_when(database, _rows(database) + more_rows)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [worker for worker in workers if Path(f"/proc/{worker}").exists()] == []
    last = cli("collect", *OPTIONS, "--db", database, "--json").json
    assert 0 < last["stored_before"] < 2 * COUNT
    assert last["stored_before"] + last["measured"] == 2 * COUNT
    _check_complete(database)
    assert cli("collect", *OPTIONS, "--db", database, "--json").json["measured"] == 0
    _check_complete(database)


def _check_complete(database: Path) -> None:
    """Every network has every headline figure of both devices exactly once."""
    with Store.open(database) as store:
        frame = store.frame()
        counts = frame.groupby(["seed", "device", "metric", "definition"], observed=True).size()
        assert set(counts) == {1}
        for device in DEVICES:
            assert store.done(device) == {("kws", seed, "int8") for seed in range(5, 5 + COUNT)}


def test_networks_with_the_same_structure_are_measured_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kws.db") as store, WorkerPool(1) as pool:
        [network] = build_networks(pool, [("kws", 3, "int8")])
        assert isinstance(network, SampledModel)
        stored = network.record
        store.add_networks([type(stored)(**{**_fields(stored), "seed": 99, "model_id": "00" * 32})])
        done = collect(Collection(spaces=("kws",), count=2, seed=3, devices=("tflm",)), store)
        assert (done.duplicate_networks, done.skipped, done.measured, done.done) == (1, 1, 1, done.total)


def _fields(record: object) -> dict[str, object]:
    import dataclasses

    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}  # type: ignore[arg-type]


def test_float_networks_on_an_npu_are_recorded_as_unavailable(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kws.db") as store:
        request = Collection(
            spaces=("kws",), count=2, seed=0, devices=("ethos-u55-128",), dtypes=("float32",)
        )
        collect(request, store)
        assert store.frame()["unavailable"].notna().all()
        assert len(store.done("ethos-u55-128")) == 2


def test_rotating_devices_take_turns_and_operators_share_a_run(tmp_path: Path, cli: Cli) -> None:
    database = tmp_path / "kws.db"
    turns = ("--rotate", "ethos-u55-32", "--rotate", "ethos-u55-128", "--per-operator")
    command = ("collect", "--space", "kws", "--count", 4, "--seed", 7, "-d", "tflm", *turns, "--db", database)
    assert cli(*command, "--json").json["total"] == 8
    assert cli(*command, "--json").json["stored_before"] == 8
    with Store.open(database) as store:
        for device, seeds in (("tflm", range(7, 11)), ("ethos-u55-32", (8, 10)), ("ethos-u55-128", (7, 9))):
            assert store.done(device) == {("kws", seed, "int8") for seed in seeds}
        operators = store.operator_frame()
    assert not operators.empty
    shared = operators.groupby(["device", "seed"], observed=True)["conditions"].nunique()
    assert set(shared) == {1}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"spaces": ("nowhere",)}, UnknownNameError),
        ({"devices": ("tpu-9",)}, UnknownNameError),
        ({"devices": ()}, InvalidInputError),
        ({"spaces": ()}, InvalidInputError),
        ({"dtypes": ("int3",)}, InvalidInputError),
        ({"dtypes": ("int8", "int8")}, InvalidInputError),
        ({"count": 0}, InvalidInputError),
    ],
)
def test_wrong_requests_are_refused_at_once(
    tmp_path: Path, change: dict[str, object], error: type[Exception]
) -> None:
    options: dict[str, object] = {"spaces": ("kws",), "count": 1, "seed": 0, "devices": ("tflm",)}
    with Store.open(tmp_path / "kws.db") as store, pytest.raises(error):
        collect(Collection(**{**options, **change}), store)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("space", "device", "wrong"), [("nowhere", "tflm", "'nowhere'"), ("kws", "nothing", "'nothing'")]
)
def test_a_wrong_request_makes_no_database(
    tmp_path: Path, cli: Cli, space: str, device: str, wrong: str
) -> None:
    done = cli("collect", "--space", space, "--count", 1, "--rotate", device, "--db", tmp_path / "n.db")
    assert done.code != 0 and wrong in done.err
    assert not (tmp_path / "n.db").exists()
