"""`perfsage collect` on two real phones at once, killed in the middle, into both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.workflows.profile import profile_models
from dataset.store import Store
from perfsage.errors import TransientDeviceError
from profilers.profiler import Plan
from tests.adb.phones import Phone
from tests.dataset.conftest import database, postgres_server, postgres_url
from tests.profilers.networks import small

__all__ = ["database", "postgres_server", "postgres_url"]  # fixtures
ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from api.cli.main import main; main()"]
COUNT = 4
DEVICES = ("adb:one", "adb:two")
OPTIONS = ["--space", "kws", "--count", str(COUNT), "--seed", "3", "-d", DEVICES[0], "-d", DEVICES[1]]
QUICK = """idle_between_models_s = 0
idle_between_visits_s = 0
runner = {runs = 2, min_s = 0.05, warmup_min_s = 0}
"""


@pytest.fixture
def phones(make_phone: Callable[..., Phone], key_path: Path, tmp_path: Path) -> list[Phone]:
    """Two phones of one inventory, the second one with authentication on."""
    from profilers.adb.keys import load_signer

    load_signer(key_path)
    one, two = make_phone(), make_phone(auth=True)
    two.write("data/misc/adb/adb_keys", key_path.with_name("adbkey.pub").read_text() + "\n")
    two.restart()
    entries = zip(("one", "two"), (one, two), strict=True)
    (tmp_path / "lab.toml").write_text(
        "".join(
            f"[devices.{name}]\naddress = '{phone.address}'\nkey_path = '{key_path}'\n{QUICK}"
            for name, phone in entries
        )
    )
    return [one, two]


def _hear_interrupts() -> None:
    """Programs that a shell starts in the background ignore SIGINT, and so would theirs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def collecting(folder: Path, target: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PERFSAGE_LAB": str(folder / "lab.toml")}
    words = [*PROGRAM, "collect", *OPTIONS, "--workers", "1", "--db", target, "--json"]
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stored(target: str) -> dict[str, int]:
    """Return how many latencies each phone has in the database."""
    with Store.open(target) as store:
        frame = store.frame(metric="latency_ms")
    means = frame[frame["definition"] == "inference_mean"]
    assert not means.duplicated(["network", "device"]).any(), "nothing is measured twice"
    return {device: int((means["device"] == device).sum()) for device in DEVICES}


def test_two_phones_collect_at_once_and_a_kill_loses_nothing(
    phones: list[Phone], tmp_path: Path, database: str
) -> None:
    with collecting(tmp_path, database) as killed:
        phones[0].wait_for("board_runner --graph", 60)
        deadline = time.monotonic() + 60
        while not all(stored(database).values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        phones[0].wait_for("board_runner --graph", 60)  # it is killed while a model runs
        killed.kill()
    before = stored(database)
    assert all(before.values()) and sum(before.values()) < 2 * COUNT, "both had begun, and not ended"
    with collecting(tmp_path, database) as resumed:
        out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert f'"stored_before": {sum(before.values())}' in out
    assert stored(database) == dict.fromkeys(DEVICES, COUNT)
    assert [phone.processes() for phone in phones] == [{}, {}]


def test_ctrl_c_ends_what_runs_on_the_phones(phones: list[Phone], tmp_path: Path) -> None:
    inventory = tmp_path / "lab.toml"
    # Long enough that no phone is done before the signal; letting go may wait for what is being read.
    inventory.write_text(inventory.read_text().replace("min_s = 0.05", "min_s = 15"))
    with collecting(tmp_path, str(tmp_path / "m.db")) as interrupted:
        for phone in phones:
            phone.wait_for("board_runner --graph", 60)
        interrupted.send_signal(signal.SIGINT)
        _, err = interrupted.communicate(timeout=100)
    assert interrupted.returncode == 130, err
    assert [phone.processes() for phone in phones] == [{}, {}]


def test_a_phone_that_goes_away_takes_nothing_that_was_measured(
    phone: Phone, key_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.toml").write_text(
        f"[devices.one]\naddress = '{phone.address}'\nkey_path = '{key_path}'\n"
        f"patience_s = 1\nabsence_s = 1\nattempts = 1\n{QUICK}"
    )
    monkeypatch.setenv("PERFSAGE_LAB", str(tmp_path / "lab.toml"))
    paths = [tmp_path / f"{seed}.tflite" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(small(seed=seed).data)
    with pytest.raises(TransientDeviceError, match="does not answer"):
        profile_models(
            paths,
            devices=["adb:one"],
            plan=Plan(visits=1),
            database=str(tmp_path / "m.db"),
            on_outcome=lambda device, outcome: phone.off(),
        )
    with Store.open(tmp_path / "m.db") as store:
        frame = store.frame(device="adb:one", metric="latency_ms")
    assert frame["network"].nunique() == 1 and frame["value"].notna().all()
