"""What one archive may cost: bytes, entries, depth and time are bounded, whatever the archive says."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the work on one archive, nested archives included.

    `total_bytes` counts everything that is decompressed; `ratio` bounds it to a multiple of the archive's
    own size as well, above `free_bytes` that any archive may have. `entries` counts entries of all archives
    together, `depth` archives inside archives.
    """

    total_bytes: int = 8 << 30
    free_bytes: int = 256 * MIB
    ratio: int = 30
    entry_bytes: int = 2 << 30
    entries: int = 200_000
    models: int = 10_000
    depth: int = 4
    cpu_s: float = 300.0


class Refused(Exception):
    """The rest of an archive is not read: `reason` says why. What was found before stays."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Budget:
    """What is left of the limits while one archive is read, and the oddities that it met.

    `spent` says that a limit was reached, so that nothing more of the archive may be read.
    """

    def __init__(self, limits: Limits, archive_bytes: int) -> None:
        self.limits = limits
        self.problems: Counter[str] = Counter()
        self.entries = self.models = 0
        self.spent = False
        self.bytes_left = min(limits.total_bytes, max(limits.free_bytes, limits.ratio * archive_bytes))
        self._end_s = time.process_time() + limits.cpu_s

    def entry(self) -> None:
        """Count one entry; Refused when there are too many or the time is up."""
        self.entries += 1
        if self.entries > self.limits.entries:
            raise self._refuse(f"it has more than {self.limits.entries} entries")
        self._look_at_the_time()

    def finding(self) -> None:
        """Count one model; Refused when there are too many or the time is up."""
        self.models += 1
        if self.models > self.limits.models:
            raise self._refuse(f"it has more than {self.limits.models} models")
        self._look_at_the_time()

    def inflate(self, count: int) -> None:
        """Take `count` bytes that were decompressed; Refused when they are too many or the time is up."""
        if count > self.bytes_left:
            raise self._refuse("it unpacks to far more than its size (a decompression bomb?)")
        self.bytes_left -= count
        self._look_at_the_time()

    def _look_at_the_time(self) -> None:
        if time.process_time() > self._end_s:
            raise self._refuse(f"reading it took more than {self.limits.cpu_s:g} s of processor time")

    def _refuse(self, reason: str) -> Refused:
        self.spent = True
        return Refused(reason)
