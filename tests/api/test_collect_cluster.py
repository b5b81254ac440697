"""Collection on a real dask scheduler with two real workers on loopback, one of them killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.workflows.collect import Collection, Progress, collect
from dataset.store import Store
from perfsage.errors import InvalidInputError, UnknownNameError
from tests.api.support import ROOT, Cli

pytest.importorskip("distributed")

DEVICES = ("tflm", "ethos-u55-128")
START_TIMEOUT_S = 60.0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _dask(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **quiet)


@dataclass
class Cluster:
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, *devices: str) -> subprocess.Popen[bytes]:
        resources = " ".join(f"{device}=1" for device in devices)
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", "0"]
        worker = _dask("dask_worker", self.address, *options, "--resources", resources)
        self.processes.append(worker)
        return worker

    def wait(self, workers: int) -> None:
        import distributed

        with distributed.Client(self.address, timeout=START_TIMEOUT_S, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=START_TIMEOUT_S)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    port = _free_port()
    scheduler = _dask("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    made = Cluster(f"tcp://127.0.0.1:{port}", [scheduler])
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def request(cluster: Cluster, count: int, devices: tuple[str, ...] = DEVICES) -> Collection:
    return Collection(spaces=("kws",), count=count, seed=5, devices=devices, scheduler=cluster.address)


def test_a_worker_is_killed_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    count = 72
    victim = cluster.add_worker(*DEVICES)
    cluster.add_worker(*DEVICES)
    cluster.wait(2)
    killed = threading.Event()

    def kill(progress: Progress) -> None:
        if progress.measured and not killed.is_set():
            killed.set()
            os.killpg(victim.pid, signal.SIGKILL)

    with Store.open(tmp_path / "kws.db") as store:
        done = collect(request(cluster, count), store, on_progress=kill)
        assert killed.is_set()
        assert victim.wait(timeout=5) == -signal.SIGKILL
        assert done.done == done.total == 2 * count
        assert not done.failures
        frame = store.frame()
        assert set(frame.groupby(["seed", "device", "metric", "definition"], observed=True).size()) == {1}
        here = tmp_path / "here.db"
        with Store.open(here) as other:
            collect(Collection(spaces=("kws",), count=6, seed=5, devices=DEVICES), other)
            _same_values(frame, other.frame())


def _same_values(cluster_frame, here_frame) -> None:  # type: ignore[no-untyped-def]
    key = ["seed", "device", "metric", "definition"]
    there = cluster_frame.set_index(key)["value"]
    here = here_frame.set_index(key)["value"]
    assert (there.loc[here.index] == here).all()
    assert len(here) > 6 * 6


def test_devices_that_nobody_offers_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker("tflm")
    cluster.wait(1)
    with Store.open(tmp_path / "kws.db") as store:
        with pytest.raises(UnknownNameError, match=r"none of the scheduler's 1 workers.*ethos-u55-128"):
            collect(request(cluster, 4), store)
        assert store.stats().networks == 0
        done = collect(request(cluster, 4, ("tflm",)), store)
        assert done.measured + done.skipped == 4


def test_an_address_where_nobody_answers(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.workflows import cluster

    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.5)
    address = f"tcp://127.0.0.1:{_free_port()}"
    with Store.open(tmp_path / "kws.db") as store, pytest.raises(InvalidInputError, match="no scheduler"):
        collect(Collection(spaces=("kws",), count=1, seed=0, devices=("tflm",), scheduler=address), store)
