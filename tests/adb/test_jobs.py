"""Jobs on a real adbd: they outlive the connection, and nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perfsage.errors import TransientDeviceError
from profilers.adb.jobs import JobLostError, Jobs
from profilers.adb.transport import Adb
from tests.adb.phones import Phone

SHELL = ["sh", "-c"]


@pytest.fixture
def jobs(adb: Adb) -> Jobs:
    return Jobs(adb)


def test_a_job_leaves_its_result_and_nothing_else(phone: Phone, adb: Adb, jobs: Jobs) -> None:
    with jobs.start([*SHELL, "echo one; sleep 0.3; echo two; echo bad >&2; exit 7"], limit_s=10) as job:
        result = job.wait(10)
    assert (result.code, result.timed_out, result.text, result.stderr) == (7, False, "one\ntwo", "bad\n")
    assert 0.25 < result.lines[1].uptime_s - result.lines[0].uptime_s < 3.0
    assert phone.processes() == {}
    assert adb.run("ls /data/local/tmp/perfsage/jobs").text == ""


def test_a_job_that_hangs_is_ended_by_the_phone(phone: Phone, jobs: Jobs) -> None:
    with jobs.start([*SHELL, "setsid sleep 99 & sleep 99"], limit_s=1) as job:
        assert job.wait(20).timed_out
    assert phone.processes() == {}, "not even the process that went its own way"


def test_a_crash_keeps_its_signal(jobs: Jobs) -> None:
    with jobs.start([*SHELL, "kill -SEGV $$"], limit_s=10) as job:
        assert job.wait(10).code == 128 + signal.SIGSEGV
    with jobs.start(["/data/local/tmp/nothing"], limit_s=10) as job:
        assert job.wait(10).code == 127


def test_endless_output_is_cut(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profilers.adb.jobs.OUT_BYTES", 100_000)
    with jobs.start(["yes", "garbage\x1b\u20ac"], limit_s=30) as job:
        result = job.wait(40)
    assert not result.timed_out and 1000 < len(result.lines) < 20_000


def test_a_job_outlives_adbd_and_a_cut_cable(phone: Phone, adb: Adb, jobs: Jobs) -> None:
    with jobs.start([*SHELL, "sleep 1.5; echo survived"], limit_s=20) as job:
        phone.hold()
        back = threading.Timer(1.0, phone.release)
        back.start()
        assert job.wait(20, patience_s=20).text == "survived"
        back.join()
    assert phone.processes() == {}


def test_a_phone_that_restarts_loses_its_job_and_says_so(phone: Phone, jobs: Jobs) -> None:
    with jobs.start(["sleep", "60"], limit_s=90) as job:
        phone.restart()
        with pytest.raises(JobLostError, match="restarted while a model ran"):
            job.wait(20)


def test_a_job_that_the_phone_kills_is_lost(phone: Phone, jobs: Jobs) -> None:
    with jobs.start(["sleep", "60"], limit_s=90) as job:
        phone.wait_for("sleep 60")
        for pid, words in phone.processes().items():
            if "job.sh" in words:
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(JobLostError, match="killed the job"):
            job.wait(20)
    assert phone.processes() == {}


def test_an_interrupted_host_leaves_nothing(phone: Phone, jobs: Jobs) -> None:
    with pytest.raises(KeyboardInterrupt), jobs.start(["sleep", "60"], limit_s=90):
        phone.wait_for("sleep 60")
        raise KeyboardInterrupt
    assert phone.processes() == {}


def test_what_a_killed_host_left_is_ended_at_the_next_start(
    phone: Phone, connect: Callable[..., Adb], key_path: Path
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom profilers.adb.transport import Adb\n"
        "from profilers.adb.jobs import Jobs\n"
        "adb = Adb(sys.argv[1], key_path=Path(sys.argv[2]))\n"
        "with Jobs(adb).start(['sh', '-c', 'setsid sleep 77 & sleep 78'], limit_s=99) as job:\n"
        "    print('running', flush=True)\n    job.wait(99)\n"
    )
    words = [sys.executable, "-c", program, phone.address, str(key_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None and host.stdout.readline() == "running\n"
        phone.wait_for("sleep 77")
        host.kill()
    assert phone.processes(), "the job goes on without its host"
    phone.write("data/local/tmp/perfsage/models/half.tflite.part", "sent in part")
    adb = connect(phone.address)
    assert Jobs(adb).clean() >= 2
    assert phone.processes() == {}
    assert adb.run("ls /data/local/tmp/perfsage /data/local/tmp/perfsage/models").text == (
        "/data/local/tmp/perfsage:\njob.sh\nmodels\n\n/data/local/tmp/perfsage/models:\n"
    )


def test_another_hosts_job_is_left_alone(phone: Phone, adb: Adb, jobs: Jobs) -> None:
    other = Jobs(adb)
    other._host = "f" * 12
    with other.start(["sleep", "60"], limit_s=90):
        with pytest.raises(TransientDeviceError, match=r"another host is using the phone .*ffffffffffff"):
            jobs.clean()
        assert phone.wait_for("sleep 60")


def test_starting_is_quick_enough_to_poll(jobs: Jobs) -> None:
    begin = time.monotonic()
    with jobs.start(["true"], limit_s=10) as job:
        job.wait(10)
    assert time.monotonic() - begin < 5
