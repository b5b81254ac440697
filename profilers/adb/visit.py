"""One run of the benchmark, with the phone's state before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profilers.adb.benchmark_log import BenchmarkReport, measured_span_s
from profilers.adb.command import RESULT_FILE
from profilers.adb.conditions import State, read_state
from profilers.adb.jobs import JobResult
from profilers.adb.runner import report
from profilers.adb.session import Session

JOB_MARGIN_S = 30.0
"""What the host waits longer than the phone's own limit, for starting and for fetching the result."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one run gave."""

    report: BenchmarkReport
    before: State
    after: State
    worst_status: int | None
    span_s: tuple[float, float] | None
    """The phone's uptimes between which the counted inferences ran."""

    @property
    def throttled(self) -> bool:
        """Whether the phone began to throttle in this run."""
        rose = (self.worst_status or 0) > (self.before.thermal_status or 0)
        return rose or self.after.throttled_since(self.before)


def visit(session: Session, words: Sequence[str], timeout_s: float) -> Visit:
    """Run a command when the phone is cool, and read what it printed.

    RunFailure where the benchmark failed, JobLostError where the phone restarted, TransientDeviceError
    where it stays away.
    """
    before = session.cool()
    statuses = [before.thermal_status]
    with session.jobs.start(words, limit_s=timeout_s) as job:
        result = job.wait(
            timeout_s + JOB_MARGIN_S + session.settings.absence_s,
            patience_s=session.settings.absence_s,
            watch=lambda: statuses.append(read_state(session.adb).thermal_status),
        )
        result_file = job.fetch(RESULT_FILE)
    after = read_state(session.adb)
    return finish(result, before, after, [*statuses, after.thermal_status], result_file)


def finish(
    result: JobResult,
    before: State,
    after: State,
    statuses: Sequence[int | None],
    result_file: bytes | None = None,
) -> Visit:
    """Return the visit of a job that ended."""
    return Visit(
        report=report(result, result_file),
        before=before,
        after=after,
        worst_status=max((status for status in statuses if status is not None), default=None),
        span_s=measured_span_s(result.lines),
    )
