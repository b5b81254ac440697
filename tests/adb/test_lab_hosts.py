"""Phones of another host, over a real scheduler and a real worker, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perfsage.errors import InvalidInputError, TransientDeviceError
from perfsage.metrics import Metric
from profilers.adb.profiler import open_adb
from profilers.lab import read_lab
from profilers.lab_hosts import HostedPhone, phones_of
from profilers.profiler import Plan
from tests.adb.phones import Phone, free_port
from tests.profilers.networks import small

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]


@contextmanager
def process(words: list[str], until: str, lab: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PERFSAGE_LAB": str(lab), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        seen = []
        for line in running.stdout:
            seen.append(line)
            if until in line:
                break
        else:
            raise AssertionError("".join(seen))
        try:
            yield running
        finally:
            running.terminate()
            running.communicate(timeout=30)


def test_a_phone_of_another_host(
    phone: Phone, key_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(
        f"[devices.far]\naddress = '{phone.address}'\nkey_path = '{key_path}'\nhost = 'bench-1'\n"
        "[devices.far.runner]\nruns = 5\nmin_s = 0.05\nwarmup_min_s = 0.02\n"
    )
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    begin = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", scheduler, "--no-dashboard"]
    monkeypatch.setenv("PERFSAGE_LAB", str(lab))
    monkeypatch.setenv("PERFSAGE_SCHEDULER", scheduler)
    with process(begin, "Scheduler at", lab):
        far = open_adb("adb:far")
        assert isinstance(far, HostedPhone)
        with pytest.raises(TransientDeviceError, match="no host of the cluster offers adb:far"):
            list(far.profile([small()], Plan(visits=1)))
        words = [sys.executable, "-m", "profilers.lab_hosts", scheduler, "bench-1"]
        with process(words, "offering adb:far", lab):
            outcomes = list(far.profile([small(seed=1), small(seed=2)], Plan(visits=1)))
            assert Metric.LATENCY_MS in far.describe().metrics
        far.close()
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert all(outcome.measurements[0].device == "adb:far" for outcome in outcomes)


def test_a_host_without_phones_is_told(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text("[devices.a]\naddress = '10.0.0.7:5555'\nhost = 'bench-1'\n")
    assert phones_of(read_lab(lab), "bench-1") == ["a"]
    with pytest.raises(InvalidInputError, match=r"no phone .* 'bench-2'.*bench-1"):
        phones_of(read_lab(lab), "bench-2")
