"""What all power sources on a phone share: a small loop there prints readings, stamped by the phone's clock.

Nothing crosses the cable while it records, so that reading does not wake the phone more than the loop does.
"""

from __future__ import annotations

import itertools

from perfsage.errors import StableDeviceError
from profilers.adb.jobs import Job, JobResult, Jobs
from profilers.adb.transport import Adb
from profilers.power.monitor import FloatArray

LONGEST_RECORDING_S = 4 * 3600


class Recording:
    """Runs a shell loop on the phone between `start` and `stop`; its output lines carry uptimes."""

    def __init__(self, adb: Adb, jobs: Jobs) -> None:
        self.adb = adb
        self._jobs = jobs
        self._job: Job | None = None

    def start(self, body: str, interval_s: float) -> None:
        """Begin to run `body` every `interval_s` seconds."""
        if self._job is not None:
            raise StableDeviceError("the monitor is recording already", where=f"phone {self.adb.address}")
        loop = f"while :; do {body}; sleep {interval_s:g}; done"
        self._job = self._jobs.start(["sh", "-c", loop], limit_s=LONGEST_RECORDING_S)

    def stop(self) -> JobResult:
        """End the loop and return what it printed."""
        job, self._job = self._job, None
        if job is None:
            raise StableDeviceError("the monitor is not recording", where=f"phone {self.adb.address}")
        with job:
            return job.stop()

    def close(self) -> None:
        """End the loop if it runs."""
        job, self._job = self._job, None
        if job is not None:
            job.remove(patience_s=1.0)


def median_step_s(times: FloatArray) -> float:
    """Return the median distance of neighbouring times; infinite with fewer than two."""
    steps = sorted(float(b - a) for a, b in itertools.pairwise(times))
    return steps[len(steps) // 2] if steps else float("inf")
