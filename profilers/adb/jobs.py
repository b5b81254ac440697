"""Commands that run on a phone apart from the connection, and are never left behind."""

from __future__ import annotations

import hashlib
import platform
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.adb.transport import Adb

ROOT = "/data/local/tmp/perfsage"
JOB_SCRIPT = Path(__file__).with_name("job.sh")
OUT_BYTES = 4 << 20
LONGEST_PAUSE_S = 2.0


class JobLostError(TransientDeviceError):
    """A job ended without leaving a result: the phone restarted, or killed it."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A line of output and the phone's uptime, in seconds, when it was printed."""

    uptime_s: float
    text: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended."""

    code: int
    timed_out: bool
    lines: tuple[Stamped, ...]
    stderr: str

    @property
    def text(self) -> str:
        """Standard output without the stamps."""
        return "\n".join(line.text for line in self.lines)


class Jobs:
    """Starts commands on one phone and cleans up after itself and after hosts that died."""

    def __init__(self, adb: Adb) -> None:
        self._adb = adb
        self._has_script = False
        self._running: set[str] = set()
        self._is_over = False
        self._host = hashlib.sha256(platform.node().encode()).hexdigest()[:12]

    def clean(self) -> int:
        """End what an earlier run of this host left on the phone; return how many processes there were.

        The caller holds the phone's lock, so nothing of this host may be running. Another host's job is
        left alone: TransientDeviceError.
        """
        found = self._marked_processes()
        foreign = sorted({owner for owner in found.values() if owner != self._host})
        if foreign:
            raise TransientDeviceError(
                "another host is using the phone",
                where=f"phone {self._adb.address}, hosts {', '.join(foreign)}",
                hint="Wait until it is done; its jobs end by themselves at their time limit.",
            )
        if found:
            self._end(f"PERFSAGE_JOB={self._host}")
        # Files that were being sent when the host died have names of their own until they are whole.
        self._adb.run(f"rm -rf {ROOT}/jobs {ROOT}/*/*.part")
        self._running.clear()
        self._is_over = False
        return len(found)

    def end(self) -> None:
        """End every job that still runs; nothing more is started before the next `clean`."""
        self._is_over = True
        for name in list(self._running):
            Job(self, self._adb, name, f"{ROOT}/jobs/{name}").remove(patience_s=1.0)

    def start(self, command: Sequence[str], *, limit_s: float) -> Job:
        """Start a command; the phone itself ends it after `limit_s`."""
        if self._is_over:  # another thread let the phone go
            raise TransientDeviceError("the phone has been let go", where=f"phone {self._adb.address}")
        if not self._has_script:
            self._adb.push(JOB_SCRIPT.read_bytes(), f"{ROOT}/job.sh")
            self._has_script = True
        name = f"{self._host}.{secrets.token_hex(6)}"
        folder = f"{ROOT}/jobs/{name}"
        self._running.add(name)
        launch = shlex.join(
            ["setsid", "sh", f"{ROOT}/job.sh", folder, f"{limit_s:.0f}", str(OUT_BYTES), *command]
        )
        # Sent again after a broken connection, this starts nothing twice; the loop holds the connection
        # until the job stands on its own, since processes that adbd still owns die with it.
        self._adb.run(
            f"mkdir -p {ROOT}/jobs && if mkdir {folder} 2>/dev/null; then "
            f"PERFSAGE_JOB={name} {launch} </dev/null >/dev/null 2>&1 & fi; "
            f"i=0; while [ ! -s {folder}/pid ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done; "
            f"[ -s {folder}/pid ]"
        )
        return Job(self, self._adb, name, folder)

    def _marked_processes(self) -> dict[int, str]:
        """Return the owner of every process on the phone that a job started."""
        listing = self._adb.run(
            "for e in $(grep -las PERFSAGE_JOB= /proc/[0-9]*/environ); do echo $e "
            "$(tr '\\0' '\\n' <$e 2>/dev/null | grep ^PERFSAGE_JOB=); done",
            check=False,
        ).text
        fields = (line.split() for line in listing.splitlines())
        return {
            int(f[0].split("/")[2]): f[1].removeprefix("PERFSAGE_JOB=").split(".")[0]
            for f in fields
            if len(f) == 2
        }

    def _end(self, mark: str) -> None:
        # Until none is seen twice: a process that begins shows no environment for a moment.
        self._adb.run(
            f"n=0; i=0; while [ $n -lt 2 ] && [ $i -lt 20 ]; do i=$((i+1)); n=$((n+1)); "
            f"for e in $(grep -las {mark} /proc/[0-9]*/environ); do n=0; p=${{e%/environ}}; "
            "kill -KILL ${p#/proc/} 2>/dev/null; done; [ $n -ne 1 ] || sleep 0.02; done; true"
        )


class Job:
    """One running command. Use as a context manager: leaving it ends the command and its files."""

    def __init__(self, jobs: Jobs, adb: Adb, name: str, folder: str) -> None:
        self._jobs = jobs
        self._adb = adb
        self.name = name
        self.folder = folder

    def __enter__(self) -> Job:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # On the way out of an error the phone may be gone: it is cleaned at the next start then.
        try:
            self.remove(patience_s=None if kind is None else 1.0)
        except (TransientDeviceError, StableDeviceError):
            if kind is None:
                raise

    def wait(
        self,
        timeout_s: float,
        *,
        quiet_s: float = 0.0,
        patience_s: float | None = None,
        watch: Callable[[], object] | None = None,
    ) -> JobResult:
        """Return the result, looking for it with growing pauses.

        The phone is left alone for the first `quiet_s` seconds. While the phone is away for up to
        `patience_s` the job goes on. `watch` is called at every look from the second second on.
        JobLostError when it ended without a result.
        """
        deadline = time.monotonic() + timeout_s
        time.sleep(quiet_s)
        pause_s = 0.05
        while True:
            state = self._state(patience_s)
            if state[:1] in (["exit"], ["timeout"]):
                return self._result(state)
            if time.monotonic() > deadline:
                raise TransientDeviceError(
                    f"the job did not end within {timeout_s:.0f} s", where=f"phone {self._adb.address}"
                )
            if watch is not None and pause_s >= 1.0:
                watch()
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)

    def fetch(self, name: str) -> bytes | None:
        """Return a file that the command left in its working folder, None where it left none."""
        done = self._adb.run(["cat", f"{self.folder}/{name}"], check=False)
        return done.stdout if done.code == 0 else None

    def stop(self, timeout_s: float = 10.0) -> JobResult:
        """End the command and return what it printed until then."""
        self._adb.run(f"kill -TERM -$(cat {self.folder}/child) 2>/dev/null; true")
        return self.wait(timeout_s)

    def remove(self, patience_s: float | None = None) -> None:
        """End the command if it runs, and remove its files."""
        if patience_s is not None:
            self._adb.run("true", patience_s=patience_s)
        self._jobs._end(f"PERFSAGE_JOB={self.name}")
        self._adb.run(["rm", "-rf", self.folder])
        self._jobs._running.discard(self.name)

    def _state(self, patience_s: float | None) -> list[str]:
        state = self._adb.run(
            f"cd {self.folder} 2>/dev/null || {{ echo gone; exit; }}; "
            '[ "$(cat boot)" = "$(cat /proc/sys/kernel/random/boot_id)" ] || { echo restarted; exit; }; '
            "case $(cat status) in running*) kill -0 $(cat pid) 2>/dev/null || { sleep 0.1; "
            "case $(cat status) in running*) echo killed; exit;; esac; };; esac; cat status",
            check=False,
            patience_s=patience_s,
        ).text.split()
        lost = {
            "restarted": "the phone restarted while a model ran",
            "killed": "the phone killed the job",
            "gone": "the job's files are gone from the phone",
        }
        if state and state[0] in lost:
            raise JobLostError(
                lost[state[0]],
                where=f"phone {self._adb.address}",
                hint="Check its temperature and its free memory.",
            )
        return state

    def _result(self, state: list[str]) -> JobResult:
        out = self._adb.pull(f"{self.folder}/out", limit_bytes=2 * OUT_BYTES).decode(
            "utf-8", "backslashreplace"
        )
        err = self._adb.pull(f"{self.folder}/err").decode("utf-8", "backslashreplace")
        code = int(state[1]) if len(state) > 1 and state[1].isdigit() else 255
        return JobResult(code, state[0] == "timeout", tuple(_stamped(out)), err)


def _stamped(out: str) -> list[Stamped]:
    lines: list[Stamped] = []
    for line in out.split("\n")[:-1]:  # what follows the last line's end is nothing, or was cut
        stamp, _, text = line.partition(" ")
        try:
            uptime_s = float(stamp)
        except ValueError:  # the clock could not be read just then
            uptime_s = lines[-1].uptime_s if lines else 0.0
        lines.append(Stamped(uptime_s, text.rstrip("\r")))
    return lines
