"""Many apps into real databases: resumable, deduplicated, and what the report makes of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from api.cli.main import run
from dataset.apps.report import read_report
from dataset.apps.run import Request, Tally, scan_apps
from dataset.apps.writing import add_archive, known_archives
from dataset.store import Store
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph
from tests.apps.conftest import app, network, scan
from tests.apps.frameworks import onnx_model, zipped
from tests.dataset.conftest import database, postgres_server, postgres_url  # noqa: F401

PROGRAM = [sys.executable, "-c", "from api.cli.main import main; main()"]


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """Four archives of three apps: two versions of one, one without models, one that is broken."""
    folder = tmp_path / "apps"
    shared = network(1)
    app(folder / "one-1.apk", {"assets/net.tflite": shared, "assets/b.onnx": onnx_model()}, package="org.one")
    app(folder / "one-2.apk", {"assets/net.tflite": shared}, package="org.one", code=2)
    app(folder / "deep/two.aar", {"assets/other.tflite": shared, "x": os.urandom(99)}, package="org.two")
    app(folder / "none.apk", {"assets/a.txt": b"no model here, really" * 9}, package="org.none")
    (folder / "broken.apk").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "readme.txt").write_text("no archive")
    return folder


def scan_here(store: Store, path: Path) -> None:
    add_archive(store.engine, scan(path))


def test_apps_are_stored_once_and_counted_by_package(database: str, apps: Path) -> None:  # noqa: F811
    with Store.open(database) as store:
        for _ in range(2):
            for path in sorted(apps.rglob("*.a*")):
                scan_here(store, path)
        found = read_report(store)
        assert len(known_archives(store.engine)) == 5
        assert (found.archives, found.apps, found.apps_with_models) == (5, 4, 2)
        assert (found.models, found.distinct_models, found.structures) == (4, 2, 1)
        assert found.by_format == {"tflite": 3, "onnx": 1}
        assert found.by_status == {"complete": 4, "refused": 1}
        assert found.by_task == {"image classification": 3}
        assert found.operators["CONV_2D"] == 3
        [popular] = found.popular
        assert (popular.apps, popular.bytes) == (2, len(network(1)))
        json.dumps(found.to_dict(), allow_nan=False)


def test_models_become_networks_of_the_dataset(tmp_path: Path) -> None:
    path = app(tmp_path / "a.apk", {"net.tflite": network(1), "cut.tflite": network(1)[:2000]})
    with Store.open(tmp_path / "x.db") as store:
        scan_here(store, path)
        frame = store.networks()
        [number] = frame.index
        rebuilt, original = read_graph(store.rebuild(number)), read_graph(network(1))
        assert (rebuilt.graph_id, rebuilt.model_id) == (original.graph_id, original.model_id)
        assert frame.loc[number, "family"] == "image classification"


def test_copies_and_backbones_are_told_apart(database: str, tmp_path: Path) -> None:  # noqa: F811
    files = {
        "original.tflite": network(1, dtype="float32"),
        "tuned.tflite": network(1, dtype="float32", head=9),
        "other-weights.tflite": network(2, dtype="float32"),
        "other-head.tflite": network(1, dtype="float32", classes=40),
        "stranger.tflite": network(3, dtype="float32", filters=12),
    }
    with Store.open(database) as store:
        scan_here(store, app(tmp_path / "a.apk", files))
        found = read_report(store)
    pairs = {
        frozenset(name.rpartition(" ")[2] for name in (pair.first, pair.second)): (pair.relation, pair.shared)
        for pair in found.shared
    }
    tuned = pairs[frozenset({"original.tflite", "tuned.tflite"})]
    assert tuned[0] == "fine-tuned copy" and 0.5 < tuned[1] < 1
    assert pairs[frozenset({"original.tflite", "other-head.tflite"})][0] == "shared backbone"
    assert pairs[frozenset({"tuned.tflite", "other-weights.tflite"})] == ("same structure, other weights", 0)
    assert not any("stranger.tflite" in pair for pair in pairs)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, apps: Path) -> None:
    with Store.open(tmp_path / "x.db") as store:
        scan_here(store, apps / "one-1.apk")
        tally = scan_apps(store, Request(paths=[apps], workers=2))
        assert (tally.scanned, tally.known, tally.failures) == (4, 1, {})
        assert tally.by_status == {"complete": 3, "refused": 1}


def test_a_worker_that_dies_costs_nothing(tmp_path: Path, apps: Path) -> None:
    """Killed as the kernel does when memory runs out, while archives wait for it."""
    killed: list[int] = []

    def kill(_: Tally) -> None:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        workers = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
        if not killed and workers:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    with Store.open(tmp_path / "x.db") as store:
        tally = scan_apps(store, Request(paths=[apps], workers=1), kill)
        assert killed
        assert (tally.scanned + tally.known, tally.failures) == (5, {})
        assert read_report(store).archives == 5


@pytest.mark.slow
def test_a_killed_scan_loses_nothing(tmp_path: Path) -> None:
    for number in range(60):
        app(tmp_path / f"apps/{number:02}.apk", {"net.tflite": network(number)}, package=f"org.a{number}")
    command = [*PROGRAM, "apps", "scan", str(tmp_path / "apps"), "--db", str(tmp_path / "x.db"), "--json"]
    with Store.open(tmp_path / "x.db") as store:
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        while len(known_archives(store.engine)) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = len(known_archives(store.engine))
        assert 5 <= before < 60
        done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert (done["archives_known"], done["archives_scanned"]) == (before, 60 - before)
        assert read_report(store).models == 60


def test_the_command_line_scans_and_reports(
    tmp_path: Path, apps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = tmp_path / "sdks.toml"
    extra.write_text(
        '[[sdk]]\nname = "Ours"\nkind = "cloud"\nsource = "https://example.org"\nnative = ["libours.so"]\n'
    )
    app(apps / "ours.apk", {"lib/x86/libours.so": bytes(99)}, package="org.ours")
    target = ["--db", str(tmp_path / "x.db")]
    assert run(["apps", "scan", str(apps), *target, "--sdks", str(extra), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["archives_scanned"], document["models"]) == (6, 4)
    assert document["models_by_state"] == {"read": 3, "recognized": 1}
    assert run(["apps", "report", *target, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["apps"], document["sdks"]) == (5, {"Ours": 1})
    assert document["refusals"] == {"it has no central directory (cut off, or no zip file)": 1}
    assert run(["apps", "report", *target]) == 0
    assert "2 apps carry models" in capsys.readouterr().out
    report = tmp_path / "report"
    assert run(["apps", "report", *target, "--output", str(report)]) == 0
    capsys.readouterr()
    models = pd.read_csv(report / "app_models.csv")
    assert len(models) == len(pd.read_parquet(report / "app_models.parquet")) == 4
    assert set(models["package"]) == {"org.one", "org.two"}
    tflite = models[models["format"] == "tflite"]
    assert (tflite["macs"] > 0).all() and set(tflite["path"]) == {"assets/net.tflite", "assets/other.tflite"}
    assert models["sparsity"].isna().tolist() == (models["format"] != "tflite").tolist()
    assert list(pd.read_csv(report / "app_libraries.csv")["library"]) == ["Ours"]
    html = (report / "report.html").read_text()
    assert "2 carry models" in html and "org.one" not in html.split("<h2>Tables")[0]
    assert not re.search(r"<script|<link|<img|src=|href=\"(?!#)", html)
    assert run(["apps", "scan", str(apps / "one-1.apk"), *target, "--again"]) == 0
    assert "Scanned 1 archives" in capsys.readouterr().out
    with Store.open(tmp_path / "x.db") as store:
        assert read_report(store).archives == 6


def test_models_are_kept_for_studies(tmp_path: Path) -> None:
    """Renamed, twice, split into parts and nested: each different model becomes one file with a safe name."""
    whole = network(5)
    files = {
        "../../evil.tflite": network(1),
        "again.bin": network(1),
        "inner.zip": zipped({"x.jpg": network(2)}),
        "net.part0": whole[:2000],
        "net.part1": whole[2000:],
        "cut.tflite": network(3)[:2000],
        "net.onnx": onnx_model(),
    }
    path = app(tmp_path / "apps" / "a.apk", files)
    folder = tmp_path / "kept" / "models"
    with Store.open(tmp_path / "x.db") as store:
        scan_apps(store, Request(paths=[path], workers=1, keep=folder))
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(kept.values()) == {network(1), network(2), whole}
    assert len(kept) == 3 and all(re.fullmatch(r"[a-z-]+-[0-9a-f]{12}\.tflite", name) for name in kept)


def test_mistakes_are_told(tmp_path: Path) -> None:
    with Store.open(tmp_path / "x.db") as store:
        with pytest.raises(InvalidInputError, match="no such file or folder"):
            scan_apps(store, Request(paths=[tmp_path / "nowhere"]))
        bad = tmp_path / "bad.toml"
        for text in ("[[sdk", "", '[[sdk]]\nname = "x"', '[[sdk]]\nname="x"\nkind="y"\nsource="z"'):
            bad.write_text(text)
            with pytest.raises(InvalidInputError, match=r"SDK|kind"):
                scan_apps(store, Request(paths=[], sdks=bad))


def test_the_same_bytes_are_one_model(tmp_path: Path) -> None:
    """The same bytes under two names and in two archives are one model."""
    inner = zipped({"a.tflite": network(4)})
    path = app(tmp_path / "a.apk", {"b.dat": network(4), "inner.zip": inner})
    with Store.open(tmp_path / "x.db") as store:
        scan_here(store, path)
        with store.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM app_models")).scalar() == 1
            assert connection.execute(sa.text("SELECT count(*) FROM app_findings")).scalar() == 2
